"""A published benchmark: found in a folder, or fetched from the Hub when it is first used.

The folder is `PRISM_DATA_DIR`, laid out as `prism_core/tasks/*.py` say (`local`). What is not there
is fetched from the Hub, file by file, as data only: no script of a data set is ever run. Where
neither works, one sentence says what to download and where to put it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prism_core.errors import InputError, NotFoundError
from prism_core.tasks.files import Row, read_rows
from prism_core.tasks.item import Item, ItemKind

DATA_DIR = "PRISM_DATA_DIR"
REACH_SECONDS = 8.0
"""How long the Hub may take to be reached at all."""


@dataclass(frozen=True)
class HubFile:
    """One file of a data set on the Hub."""

    repository: str
    path: str
    local: str

    @property
    def url(self) -> str:
        """Where a person can download the file."""
        return f"https://huggingface.co/datasets/{self.repository}/resolve/main/{self.path}"


@dataclass(frozen=True)
class Benchmark:
    """A published set of items as a `Task`."""

    name: str
    title: str
    kind: ItemKind
    categories: tuple[str, ...]
    licence: str
    hub: tuple[HubFile, ...]
    read: Callable[[Iterable[Row]], Iterable[Item]]
    """Makes items of the files' rows, whether they come from `local` or from `hub`."""
    local: tuple[str, ...] = ()
    """Patterns of files below a data folder, in the form its authors publish; tried before `hub`'s
    files."""

    def load(self) -> tuple[Item, ...]:
        """Load all items, in the files' order.

        Raises:
            NotFoundError: the data is neither in the folder nor can be fetched from the Hub.
            InputError: a file is damaged.
        """
        paths = self.local_files() or self._fetch()
        items = {}
        for item in self.read(row for path in paths for row in read_rows(path)):
            if item.id in items:
                raise InputError(f"{self.title}: the id '{item.id}' comes twice.")
            items[item.id] = item
        if not items:
            raise InputError(f"{self.title}: there are no items in {', '.join(map(str, paths))}.")
        return tuple(items.values())

    def local_files(self) -> list[Path]:
        """Return its files in `PRISM_DATA_DIR`; none where the variable is not set."""
        folder = os.environ.get(DATA_DIR, "").strip()
        if not folder:
            return []
        if not Path(folder).is_dir():
            raise NotFoundError(f"{DATA_DIR} names the folder '{folder}', which does not exist.")
        for pattern in self.local:
            found = sorted(Path(folder).glob(pattern))
            if found:
                return found
        copies = [Path(folder) / file.local for file in self.hub]
        return copies if all(path.is_file() for path in copies) else []

    @property
    def how_to_get(self) -> str:
        """Say what to download and where to put it, in one sentence."""
        steps = " and ".join(f"{file.url} as '{file.local}'" for file in self.hub)
        return (
            f"To use {self.title}, save {steps} below a folder of yours, and set {DATA_DIR} to "
            f"that folder (licence: {self.licence})."
        )

    def _fetch(self) -> list[Path]:
        """Return the files from the Hub's cache, downloaded if they are not there."""
        from httpx2 import HTTPError
        from huggingface_hub.errors import HFValidationError

        try:
            return [_from_hub(file) for file in self.hub]
        except (OSError, HTTPError, HFValidationError) as error:
            raise NotFoundError(
                f"{self.title} is not on this machine and could not be fetched "
                f"({_root(error)}). {self.how_to_get}"
            ) from error


def _from_hub(file: HubFile) -> Path:
    """Return one file's place in the cache; one that is not there is asked for once, not long."""
    import httpx2
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(file.repository, file.path, repo_type="dataset")
    if isinstance(cached, str):
        return Path(cached)
    if not constants.HF_HUB_OFFLINE:
        # The library retries for half a minute; whether the Hub can be reached shows at once.
        httpx2.head(constants.ENDPOINT, timeout=REACH_SECONDS)
    return Path(hf_hub_download(file.repository, file.path, repo_type="dataset"))


def _root(error: BaseException) -> str:
    """Return what really went wrong, as one short line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
