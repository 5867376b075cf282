"""The shelf of trained adapters: those that are shipped, and those of a visitor's own runs.

An adapter's id is `shipped-NAME` or the id of the run that trained it. Ids are looked up, never
joined to a path: a shipped one must be among the folders that are there, a run's must be a row that
belongs to the visitor. Shipped adapters can be used and downloaded, but not changed.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from app.services.downloads import download_path
from prism_core.errors import InputError, NotFoundError, PrismError, StorageError
from prism_core.models.generator import Generator
from prism_core.models.local import LocalModel
from prism_core.prism.bundle import (
    INFO_FILE,
    BundleInfo,
    load_bundle,
    push_to_hub,
    read_info,
    rename_bundle,
    write_info,
    zip_bundle,
)
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.storage import RunRow, Store
from prism_core.utils.assets import ASSETS

SHIPPED = ASSETS / "adapters"
"""Where the adapters live that come with PRISM Studio."""
PREFIX = "shipped-"
FOLDER = "adapter"
"""The bundle's folder in its run's folder."""
KINDS = ("train", "rl")
"""Runs of these kinds end with an adapter."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class ShelfEntry:
    """One adapter on the shelf."""

    id: str
    """What the page calls it by."""
    info: BundleInfo
    """What it says of itself."""
    is_shipped: bool
    """Whether it came with PRISM Studio and cannot be changed."""
    created: float | None
    """When its run was made, in seconds since 1970; None for a shipped one."""

    @property
    def title(self) -> str:
        """Its name as the pickers show it."""
        return f"{self.info.name} (shipped)" if self.is_shipped else self.info.name


class AdapterShelf:
    """All adapters that visitors may use."""

    def __init__(self, store: Store, shipped: Path = SHIPPED) -> None:
        self._store = store
        self._shipped = shipped

    def entries(self, owner: str | None) -> list[ShelfEntry]:
        """The visitor's own adapters, newest first, and the shipped ones.

        Args:
            owner: the visitor; None sees the shipped ones alone.
        """
        found = []
        kinds = KINDS if owner else ()
        runs = [r for kind in kinds for r in self._store.list_runs(owner, kind, limit=500)]
        for run in sorted(runs, key=lambda r: -r.created):
            folder = run.path / FOLDER
            if run.status != "done" or not (folder / INFO_FILE).is_file():
                continue
            try:
                found.append(ShelfEntry(run.id, read_info(folder), False, run.created))
            except PrismError:
                continue  # damaged: it can still be deleted with its run
        for folder in self._shipped_folders():
            try:
                found.append(ShelfEntry(PREFIX + folder.name, read_info(folder), True, None))
            except PrismError:
                continue
        return found

    def entry(self, adapter_id: str, owner: str | None) -> ShelfEntry:
        """One adapter.

        Raises:
            NotFoundError: there is none of that id, or it is another visitor's.
        """
        info = read_info(self.folder(adapter_id, owner))
        created = None
        if not adapter_id.startswith(PREFIX):
            created = self._run(adapter_id, owner).created
        return ShelfEntry(adapter_id, info, adapter_id.startswith(PREFIX), created)

    def folder(self, adapter_id: str, owner: str | None) -> Path:
        """Where an adapter is on the disk.

        Raises:
            NotFoundError: there is none of that id, or it is another visitor's.
        """
        if adapter_id.startswith(PREFIX):
            for folder in self._shipped_folders():
                if PREFIX + folder.name == adapter_id:
                    return folder
            raise _missing(adapter_id)
        folder = self._run(adapter_id, owner).path / FOLDER
        if not (folder / INFO_FILE).is_file():
            raise _missing(adapter_id)
        return folder

    def load(self, adapter_id: str, owner: str | None, base: Generator) -> GatedModel:
        """An adapter on its base model.

        Raises:
            NotFoundError: there is none of that id, or it is another visitor's.
            ModelError: it was trained for another model, or is damaged.
        """
        folder = self.folder(adapter_id, owner)
        if not isinstance(base, LocalModel):
            raise InputError(f"The model '{base.name}' is remote; an adapter needs a local one.")
        return load_bundle(folder, base)

    def rename(self, adapter_id: str, owner: str, name: str) -> BundleInfo:
        """Give an adapter of the visitor's own another name.

        Raises:
            InputError: the name is not allowed, or the adapter is a shipped one.
            NotFoundError: there is none of that id.
        """
        if not name.strip().isprintable():
            raise InputError("The name holds invisible characters; use visible ones.")
        return rename_bundle(self._own_folder(adapter_id, owner), name)

    def set_threshold(self, adapter_id: str, owner: str, threshold: float) -> BundleInfo:
        """Let the gate of an adapter of the visitor's own open at another probability.

        Raises:
            InputError: it is not between 0 and 1, or the adapter is a shipped one.
            NotFoundError: there is none of that id.
        """
        if not 0.0 <= threshold <= 1.0:
            raise InputError(f"The threshold is {threshold}; it must lie between 0 and 1.")
        folder = self._own_folder(adapter_id, owner)
        info = replace(read_info(folder), threshold=round(threshold, 4))
        write_info(folder, info)
        return info

    def delete(self, adapter_id: str, owner: str) -> None:
        """Delete an adapter of the visitor's own; what its run recorded stays.

        Raises:
            InputError: the adapter is a shipped one.
            NotFoundError: there is none of that id.
            StorageError: the folder cannot be deleted.
        """
        folder = self._own_folder(adapter_id, owner)
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise StorageError(f"The adapter cannot be deleted: {error.strerror}.") from error

    def zip_file(self, adapter_id: str, owner: str | None) -> Path:
        """A fresh zip of an adapter, named after it; see `download_path` for how long it stays.

        Raises:
            NotFoundError: there is none of that id, or it is another visitor's.
        """
        folder = self.folder(adapter_id, owner)
        name = _UNSAFE.sub("-", read_info(folder).name).strip(".-")[:60] or "adapter"
        path = download_path(f"{name}.zip")
        path.write_bytes(zip_bundle(folder))
        return path

    def push(
        self, adapter_id: str, owner: str, repository: str, token: str, *, private: bool
    ) -> str:
        """Upload an adapter to the Hub; the token is kept nowhere. Returns its address.

        Raises:
            NotFoundError: there is none of that id, or it is another visitor's.
            InputError: repository or token is empty or not allowed.
            ModelError: the Hub refused or did not answer.
        """
        return push_to_hub(self.folder(adapter_id, owner), repository, token, private=private)

    def _own_folder(self, adapter_id: str, owner: str) -> Path:
        if adapter_id.startswith(PREFIX):
            raise InputError("A shipped adapter cannot be changed. Train your own, or download it.")
        return self.folder(adapter_id, owner)

    def _run(self, adapter_id: str, owner: str | None) -> RunRow:
        if not owner:
            raise _missing(adapter_id)
        try:
            run = self._store.get_run(adapter_id, owner)
        except (InputError, NotFoundError) as error:
            raise _missing(adapter_id) from error
        if run.kind not in KINDS:
            raise _missing(adapter_id)
        return run

    def _shipped_folders(self) -> list[Path]:
        if not self._shipped.is_dir():
            return []
        return sorted(p for p in self._shipped.iterdir() if (p / INFO_FILE).is_file())


def _missing(adapter_id: str) -> NotFoundError:
    return NotFoundError(f"There is no adapter '{adapter_id[:60]}' on your shelf.")
