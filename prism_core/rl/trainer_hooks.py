"""What surrounds training in every arm: whole checkpoints, a clean model, processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import PreTrainedModel

CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints inside a run's folder."""
MARK = "complete"
"""File that makes a checkpoint whole; written last, so that a process may die at any moment."""


def last_checkpoint(folder: Path) -> Path | None:
    """Find the latest whole checkpoint, and remove half-written ones."""
    whole: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if (path / MARK).is_file() and number.isdigit():
            whole.append((int(number), path))
        else:
            shutil.rmtree(path, ignore_errors=True)
    return max(whole)[1] if whole else None


@contextmanager
def plain_forward(model: PreTrainedModel) -> Iterator[None]:
    """Give the model its own forward back: trl puts another in its place and leaves it there."""
    was_training = model.training
    try:
        yield
    finally:
        model.__dict__.pop("forward", None)
        model.train(was_training)


def processes() -> int:
    """Return how many processes `accelerate launch` (or `torchrun`) has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process writes journal and adapter."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_all() -> None:
    """Wait until every process has come here."""
    if processes() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
