"""The shelf of trained adapters: those that are shipped, and those of a visitor's own runs.

An adapter's id is `shipped-NAME` or the id of the run that trained it. Ids are looked up, never
joined to a path: a shipped one must be among the folders that are there, a run's must be a row that
belongs to the visitor. Shipped adapters can be used and downloaded, but not changed.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from app.services.downloads import download_path, file_name
from app.services.settings import SHIPPED_PREFIX
from prism_core import models, prism
from prism_core.errors import InputError, NotFoundError, PrismError, StorageError
from prism_core.models.generator import Generator
from prism_core.prism.bundle_files import (
    ADAPTER_FOLDER,
    INFO_FILE,
    BundleInfo,
    push_to_hub,
    read_info,
    rename_bundle,
    write_info,
    zip_bundle,
)
from prism_core.storage import Store
from prism_core.study.resolve import SHIPPED

KINDS = ("train", "rl")
"""Runs of these kinds end with an adapter."""


@dataclass(frozen=True)
class ShelfEntry:
    """One adapter on the shelf."""

    id: str
    info: BundleInfo
    created: float | None
    """When its run was made, in seconds since 1970; None for a shipped one."""

    @property
    def is_shipped(self) -> bool:
        """Whether it came with PRISM Studio and cannot be changed."""
        return self.created is None

    @property
    def title(self) -> str:
        """Its name as the pickers show it."""
        return f"{self.info.name} (shipped)" if self.is_shipped else self.info.name


class AdapterShelf:
    """All adapters that visitors may use; a visitor without an id may use the shipped ones."""

    def __init__(self, store: Store, shipped: Path = SHIPPED) -> None:
        self._store = store
        self._shipped = shipped

    def entries(self, owner: str | None) -> list[ShelfEntry]:
        """Return the visitor's own adapters, newest first, and the shipped ones."""
        kinds = KINDS if owner else ()
        runs = [r for kind in kinds for r in self._store.list_runs(owner, kind, limit=500)]
        runs = sorted((r for r in runs if r.status == "done"), key=lambda r: -r.created)
        places = [(run.id, run.path / ADAPTER_FOLDER, run.created) for run in runs]
        found = []
        for adapter_id, folder, created in [*places, *self._shipped_places()]:
            with suppress(PrismError):  # none, or damaged: it can still be deleted with its run
                found.append(ShelfEntry(adapter_id, read_info(folder), created))
        return found

    def entry(self, adapter_id: str, owner: str | None) -> ShelfEntry:
        """Return one adapter.

        Raises:
            NotFoundError: there is none of that id, or it is another visitor's.
        """
        folder, created = self._find(adapter_id, owner)
        return ShelfEntry(adapter_id, read_info(folder), created)

    def folder(self, adapter_id: str, owner: str | None) -> Path:
        """Return where an adapter is on the disk.

        Raises:
            NotFoundError: there is none of that id, or it is another visitor's.
        """
        return self._find(adapter_id, owner)[0]

    def load(self, adapter_id: str, owner: str | None, base: Generator) -> prism.GatedModel:
        """Put an adapter on its base model.

        Raises:
            NotFoundError: there is none of that id, or it is another visitor's.
            ModelError: it was trained for another model, or is damaged.
        """
        folder = self.folder(adapter_id, owner)
        if not isinstance(base, models.LocalModel):
            raise InputError(f"The model '{base.name}' is remote; an adapter needs a local one.")
        return prism.load_bundle(folder, base)

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
        """Make a zip of an adapter, named after it; see `download_path` for how long it stays.

        Raises:
            NotFoundError: there is none of that id, or it is another visitor's.
        """
        folder = self.folder(adapter_id, owner)
        path = download_path(f"{file_name(read_info(folder).name, 'adapter')}.zip")
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
        if adapter_id.startswith(SHIPPED_PREFIX):
            raise InputError("A shipped adapter cannot be changed. Train your own, or download it.")
        return self.folder(adapter_id, owner)

    def _find(self, adapter_id: str, owner: str | None) -> tuple[Path, float | None]:
        """Return an adapter's folder and when its run was made."""
        missing = NotFoundError(f"There is no adapter '{adapter_id[:60]}' on your shelf.")
        for shipped_id, folder, created in self._shipped_places():
            if shipped_id == adapter_id:
                return folder, created
        if not owner or adapter_id.startswith(SHIPPED_PREFIX):
            raise missing
        try:
            run = self._store.get_run(adapter_id, owner)
        except (InputError, NotFoundError) as error:
            raise missing from error
        folder = run.path / ADAPTER_FOLDER
        if run.kind not in KINDS or not (folder / INFO_FILE).is_file():
            raise missing
        return folder, run.created

    def _shipped_places(self) -> list[tuple[str, Path, None]]:
        folders = sorted(path.parent for path in self._shipped.glob(f"*/{INFO_FILE}"))
        return [(SHIPPED_PREFIX + folder.name, folder, None) for folder in folders]
