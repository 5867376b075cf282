"""A training run in a folder of its own: begun, or gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from prism_core.cli.output import ProgressLine, clean_stdout
from prism_core.progress import Progress
from prism_core.storage import RunKind, unpack
from prism_core.storage.folder_store import last_run, new_run, open_folder
from prism_core.storage.journal import Journal, StoreJournal

if TYPE_CHECKING:
    from prism_core.prism.spec import TrainSpec
    from prism_core.rl.spec import RlSpec

T = TypeVar("T")
SpecT = TypeVar("SpecT", bound="TrainSpec | RlSpec")


def train_in_folder(
    folder: Path,
    kind: RunKind,
    new_spec: SpecT | None,
    spec_type: type[SpecT],
    train: Callable[[SpecT, Path, Journal, Progress], T],
) -> T:
    """Begin a training run in a folder, or go on with the last one there if no spec is new.

    Raises:
        PrismError: there is nothing to go on with, or the work failed.
    """
    with open_folder(folder) as store:
        run = last_run(store, kind) if new_spec is None else new_run(store, kind, new_spec)
        with clean_stdout():
            spec = unpack(spec_type, dict(run.spec))
            return train(spec, folder, StoreJournal(store, run.id), Progress(ProgressLine()))
