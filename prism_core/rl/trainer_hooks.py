"""What surrounds training in every arm: whole checkpoints, stopping, a clean model, processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import PreTrainedModel

from prism_core.errors import CancelledError
from prism_core.lora.weights import decoder_layers
from prism_core.prism.gating.gate import hidden_of
from prism_core.progress import Progress

CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints inside a run's folder."""
MARK = "complete"
"""File that makes a checkpoint whole; written after everything else."""


def last_checkpoint(folder: Path) -> Path | None:
    """The latest whole checkpoint; half-written ones are removed."""
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


@contextmanager
def stoppable_training(model: PreTrainedModel, progress: Progress) -> Iterator[None]:
    """Let forward and backward passes end at the next layer once a cancel is asked for."""

    def ask_to_stop(*_: object) -> None:
        if progress.cancel.is_set():
            raise CancelledError("stopped on request")

    def hook(_module: object, _args: object, output: object) -> None:
        ask_to_stop()
        states = hidden_of(output)
        if states.requires_grad:
            states.register_hook(ask_to_stop)

    handles = [layer.register_forward_hook(hook) for layer in decoder_layers(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def processes() -> int:
    """How many processes `accelerate launch` (or `torchrun`) has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this one writes journal and adapter."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_all() -> None:
    """Let every process come here before any goes on."""
    if processes() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
