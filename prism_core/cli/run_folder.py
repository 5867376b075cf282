"""The folder of a run that the command line started: its store, and the run that lies in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.storage.folder_store import STORE_FILE

if TYPE_CHECKING:
    from prism_core.prism.spec import TrainSpec
    from prism_core.rl.spec import RlSpec
    from prism_core.storage import RunKind, RunRow, Store
    from prism_core.study.spec import StudySpec

_WHAT: dict[str, str] = {
    "train": "training run",
    "rl": "reinforcement-learning run",
    "study": "study",
}


def check_folder(folder: Path, *, resume: bool, noun: str = "run") -> None:
    """Refuse to resume where nothing was begun, and to begin where something lies.

    Raises:
        NotFoundError: there is nothing to resume.
        InputError: the folder of a new run is not empty, or is a file.
    """
    if resume and not (folder / STORE_FILE).is_file():
        raise NotFoundError(f"There is no {noun} to resume in '{folder}': it has no {STORE_FILE}.")
    if not resume and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' is not empty; give a new folder, or use --resume.")


def open_store(folder: Path) -> Store:
    """The store of a folder, both made where they are missing; use it in a `with`.

    Raises:
        StorageError: the folder cannot be made, or the store cannot be opened.
    """
    from prism_core.storage import Store

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"'{folder}' cannot be made: {error.strerror}.") from error
    return Store(f"sqlite:///{(folder / STORE_FILE).absolute()}", home=folder)


def run_of(store: Store, kind: RunKind, spec: TrainSpec | RlSpec | StudySpec | None) -> RunRow:
    """A new run of this spec in the store's folder; without a spec, the latest that lies there.

    Raises:
        NotFoundError: there is none yet.
    """
    from prism_core.storage import pack

    if spec is None:
        return last_run(store, kind)
    return store.create_run(kind, spec.name, pack(spec), folder=store.home)


def last_run(store: Store, kind: RunKind) -> RunRow:
    """The latest run of a kind in a folder's store.

    Raises:
        NotFoundError: there is none.
    """
    found = store.list_runs(kind=kind, limit=1)
    if not found:
        raise NotFoundError(f"The store in '{store.home}' holds no {_WHAT[kind]}.")
    return found[0]
