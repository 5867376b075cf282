"""What surrounds training in every arm: settings, journal, whole checkpoints, stopping, processes.

A checkpoint counts only once it bears a mark that is written after everything else in it, so a
process may die at any moment.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback

from prism_core.models.local import LocalModel
from prism_core.progress import Progress
from prism_core.rl.records import METRICS, ROLLOUTS, RolloutRecord, StepRecord
from prism_core.rl.spec import RlSpec
from prism_core.storage import pack
from prism_core.storage.journal import Journal

CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints inside a run's folder."""
TRAIN_STAGE = "training"
_MARK = "complete"
_SHOWN = 4
"""Rollouts of a step that are journaled."""
_LOGGED = {
    "reward": "reward",
    "loss": "loss",
    "kl": "kl",
    "length": "completions/mean_length",
    "clipped": "completions/clipped_ratio",
    "flat_groups": "frac_reward_zero_std",
    "entropy": "entropy",
    "seconds": "step_time",
}
"""Field of `StepRecord` -> name in trl's log."""


def common_settings(spec: RlSpec, model: LocalModel, folder: Path) -> dict[str, Any]:
    """Return the settings that the trainers of all arms share."""
    on_cpu = model.model.device.type == "cpu"
    return {
        "output_dir": str(folder),
        "max_steps": spec.steps,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "seed": spec.seed,
        "use_cpu": on_cpu,
        "bf16": not on_cpu and model.model.dtype == torch.bfloat16,
        "gradient_checkpointing": not on_cpu,
        "save_strategy": "steps",
        "save_steps": spec.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_first_step": True,
        "disable_tqdm": True,
        "report_to": "none",
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": not on_cpu,
    }


class JournalCallback(TrainerCallback):
    """Writes what happens at every step, marks whole checkpoints, and passes a cancel on.

    Args:
        spec: the run's settings.
        journal: where steps and rollouts are written.
        progress: told of every step.
        latest: returns the rollouts of the latest batch; a few of them are journaled.
    """

    def __init__(
        self,
        spec: RlSpec,
        journal: Journal,
        progress: Progress,
        latest: Callable[[], Sequence[RolloutRecord]] = tuple,
    ) -> None:
        self.spec, self.journal, self.progress, self.latest = spec, journal, progress, latest

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say which step begins."""
        self.progress.check()
        note = f"step {state.global_step + 1} of {self.spec.steps}"
        self.progress.update(TRAIN_STAGE, state.global_step, self.spec.steps, note)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Journal one step."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        step = int(state.global_step)
        self.journal.save(METRICS, {f"{step:06d}": pack(_step_record(step, logs))})
        records = self.latest()
        # One in so many, since neighbours belong to the same group.
        shown = records[:: max(1, len(records) // _SHOWN)][:_SHOWN]
        parts = {f"{step:06d}-{i}": pack(record) for i, record in enumerate(shown)}
        if parts:
            self.journal.save(ROLLOUTS, parts)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint as whole; the pickled settings are not needed to go on."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            (folder / "training_args.bin").unlink(missing_ok=True)
            (folder / _MARK).touch()


def _step_record(step: int, logs: Mapping[str, Any]) -> StepRecord:
    known = {field: logs.get(name) for field, name in _LOGGED.items()}
    return StepRecord(step, **{field: float(x) for field, x in known.items() if x is not None})


def train_on(trainer: Trainer, checkpoints: Path) -> None:
    """Train, from the last whole checkpoint if there is one; nothing is printed."""
    trainer.remove_callback(PrinterCallback)
    start = last_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=str(start) if start else None)


def last_checkpoint(folder: Path) -> Path | None:
    """Find the latest whole checkpoint, and remove half-written ones."""
    whole: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if (path / _MARK).is_file() and number.isdigit():
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
