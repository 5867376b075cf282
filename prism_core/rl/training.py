"""What the trainers of all arms share: their inputs, their settings and what they journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PrinterCallback, Trainer, TrainerCallback

from prism_core.models.local import LocalModel
from prism_core.progress import Progress
from prism_core.rl.records import METRICS, ROLLOUTS, RlInputs, RolloutRecord, StepRecord
from prism_core.rl.spec import RlSpec
from prism_core.rl.trainer_hooks import CHECKPOINTS, MARK, last_checkpoint
from prism_core.storage import pack
from prism_core.storage.journal import Journal

TRAIN_STAGE = "training"
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


@dataclass(frozen=True)
class Training:
    """One arm's training: what it reads, what it changes, and where it reports."""

    spec: RlSpec
    inputs: RlInputs
    model: LocalModel
    peft: PeftModel
    folder: Path
    journal: Journal
    progress: Progress


def common_settings(work: Training) -> dict[str, Any]:
    """Return the settings that the trainers of all arms share."""
    spec, model = work.spec, work.model.model
    on_cpu = model.device.type == "cpu"
    return {
        "output_dir": str(work.folder / CHECKPOINTS),
        "max_steps": spec.steps,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "seed": spec.seed,
        "use_cpu": on_cpu,
        "bf16": not on_cpu and model.dtype == torch.bfloat16,
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

    `latest` returns the rollouts of the latest batch; a few of them are journaled.
    """

    def __init__(
        self, work: Training, latest: Callable[[], Sequence[RolloutRecord]] = tuple
    ) -> None:
        self.work, self.latest = work, latest

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say which step begins."""
        steps, progress = self.work.spec.steps, self.work.progress
        progress.check()
        note = f"step {state.global_step + 1} of {steps}"
        progress.update(TRAIN_STAGE, state.global_step, steps, note)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Journal one step."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        step = int(state.global_step)
        self.work.journal.save(METRICS, {f"{step:06d}": pack(_step_record(step, logs))})
        records = self.latest()
        # One in so many, since neighbours belong to the same group.
        shown = records[:: max(1, len(records) // _SHOWN)][:_SHOWN]
        parts = {f"{step:06d}-{i}": pack(record) for i, record in enumerate(shown)}
        if parts:
            self.work.journal.save(ROLLOUTS, parts)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint as whole; the pickled settings are not needed to go on."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            (folder / "training_args.bin").unlink(missing_ok=True)
            (folder / MARK).touch()


def _step_record(step: int, logs: Mapping[str, Any]) -> StepRecord:
    known = {field: logs.get(name) for field, name in _LOGGED.items()}
    return StepRecord(step, **{field: float(x) for field, x in known.items() if x is not None})


def train_on(trainer: Trainer, work: Training) -> None:
    """Train, from the last whole checkpoint if there is one; nothing is printed."""
    trainer.remove_callback(PrinterCallback)
    start = last_checkpoint(work.folder / CHECKPOINTS)
    trainer.train(resume_from_checkpoint=str(start) if start else None)
