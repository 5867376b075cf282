"""The folder of a run that the command line started: its store, and the run that lies in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from prism_core.cli.output import ProgressLine, clean_stdout
from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.progress import Progress
from prism_core.storage.folder_store import STORE_FILE

T = TypeVar("T")
SpecT = TypeVar("SpecT", bound="TrainSpec | RlSpec")

if TYPE_CHECKING:
    from prism_core.prism.spec import TrainSpec
    from prism_core.rl.spec import RlSpec
    from prism_core.storage import RunKind, RunRow, Store
    from prism_core.storage.journal import Journal
    from prism_core.study.spec import StudySpec

    Train = Callable[[SpecT, Path, Journal, Progress], T]
_WHAT = {"train": "training run", "rl": "reinforcement-learning run", "study": "study"}


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
    """Open the store of a folder, both made where they are missing; use it in a `with`.

    Raises:
        StorageError: the folder cannot be made, or the store cannot be opened.
    """
    from prism_core.storage import Store

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"'{folder}' cannot be made: {error.strerror}.") from error
    return Store(f"sqlite:///{(folder / STORE_FILE).absolute()}", home=folder)


def new_run(store: Store, kind: RunKind, spec: TrainSpec | RlSpec | StudySpec) -> RunRow:
    """Begin a run of this spec in the store's folder."""
    from prism_core.storage import pack

    return store.create_run(kind, spec.name, pack(spec), folder=store.home)


def last_run(store: Store, kind: RunKind) -> RunRow:
    """Return the latest run of a kind in a folder's store.

    Raises:
        NotFoundError: there is none.
    """
    found = store.list_runs(kind=kind, limit=1)
    if not found:
        raise NotFoundError(f"The store in '{store.home}' holds no {_WHAT[kind]}.")
    return found[0]


def train_in_folder(
    folder: Path,
    kind: RunKind,
    new_spec: SpecT | None,
    spec_type: type[SpecT],
    train: Train[SpecT, T],
) -> T:
    """Begin a training run in a folder, or go on with the one that lies there.

    Args:
        folder: the run's folder.
        kind: what is trained.
        new_spec: the choices of a new run; None goes on with the last one.
        spec_type: what a kept spec is read back as.
        train: does the work; how far it is appears on stderr.

    Raises:
        PrismError: there is nothing to go on with, or the work failed.
    """
    from prism_core.storage import unpack
    from prism_core.storage.journal import StoreJournal

    with open_store(folder) as store:
        run = last_run(store, kind) if new_spec is None else new_run(store, kind, new_spec)
        with clean_stdout():
            spec = unpack(spec_type, dict(run.spec))
            return train(spec, folder, StoreJournal(store, run.id), Progress(ProgressLine()))
