"""A folder with a store of its own: where a command or a notebook keeps one piece of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.storage.run_row import RunKind, RunRow
from prism_core.storage.store import Store
from prism_core.storage.values import pack, unpack

STORE_FILE = "run.sqlite3"
_NOUNS = {"train": "training run", "rl": "reinforcement-learning run", "study": "study"}


class Named(Protocol):
    """A spec: a dataclass with a name."""

    @property
    def name(self) -> str:
        """The title of its run."""


def check_folder(folder: Path, kind: RunKind, *, resume: bool) -> None:
    """Refuse to resume where nothing was begun, and to begin where something lies.

    Raises:
        NotFoundError: there is nothing to resume.
        InputError: the folder of a new run is not empty, or is a file.
    """
    if resume and not (folder / STORE_FILE).is_file():
        noun = "study" if kind == "study" else "run"
        raise NotFoundError(f"There is no {noun} to resume in '{folder}': it has no {STORE_FILE}.")
    if not resume and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' is not empty; give a new folder, or use --resume.")


def open_folder(folder: Path) -> Store:
    """Open a folder's store, both made where they are missing; use it in a `with`.

    Raises:
        StorageError: the folder cannot be made, or the store cannot be opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"'{folder}' cannot be made: {error.strerror}.") from error
    return Store(f"sqlite:///{(folder / STORE_FILE).absolute()}", home=folder)


def new_run(store: Store, kind: RunKind, spec: Named) -> RunRow:
    """Begin a run in the store's own folder."""
    return store.create_run(kind, spec.name, pack(spec), folder=store.home)


def last_run(store: Store, kind: RunKind) -> RunRow:
    """Return the latest run of a kind, or raise a NotFoundError."""
    found = store.list_runs(kind=kind, limit=1)
    if not found:
        raise NotFoundError(f"The store in '{store.home}' holds no {_NOUNS[kind]}.")
    return found[0]


def run_of_spec(store: Store, kind: RunKind, spec: Any) -> RunRow:
    """Return the latest run of a kind if it has just this spec, else a new one."""
    for found in store.list_runs(kind=kind, limit=1):
        if unpack(type(spec), dict(found.spec)) == spec:
            return found
    return new_run(store, kind, spec)
