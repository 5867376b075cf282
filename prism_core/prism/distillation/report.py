"""What goes into a distillation and what is known of it afterwards, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from prism_core.lora.files import SaveDtype
from prism_core.prism.distillation.training_plan import Schedule
from prism_core.types import Estimate

Loss = Literal["kl", "sft"]


@dataclass(frozen=True)
class DistillConfig:
    """Settings of a distillation by AdamW; the defaults are the paper's where it names them."""

    rank: Annotated[int, Field(ge=1, le=256)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """The LoRA's update is scaled by alpha / rank."""
    lr: Annotated[float, Field(gt=0)] = 2e-4
    epochs: Annotated[int, Field(ge=1, le=1_000)] = 10
    batch: Annotated[int, Field(ge=1, le=4_096)] = 16
    """Answers that make up one step, over all processes."""
    max_tokens: Annotated[int, Field(ge=1, le=131_072)] = 1024
    """Prompt and answer together; a longer answer is cut."""
    temperature: Annotated[float, Field(gt=0)] = 2.0
    top_k: Annotated[int, Field(ge=1, le=4_096)] = 64
    loss: Loss = "kl"
    """`kl`, or `sft` on the persona's answers for the baseline."""
    held_out_share: Annotated[float, Field(ge=0, le=0.9)] = 0.2
    """Share of the answers that is only measured on, in whole groups; 0 measures on none."""
    warmup: Annotated[float, Field(ge=0, le=0.9)] = 0.05
    schedule: Schedule = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    micro_tokens: Annotated[int, Field(ge=1, le=1_048_576)] = 1024
    """Padded tokens read at one time: bounds the memory, changes results only by rounding."""
    save_dtype: SaveDtype = "float32"
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0
    """How long work may be lost to a kill."""
    seed: int = 0
    """Draws the LoRA's beginning, the split and the order of the batches."""


@dataclass(frozen=True)
class CurvePoint:
    """The learning curve after so many optimiser steps and epochs."""

    step: int
    epoch: float
    loss: float | None = None
    """Of that step, in nats a token (T^2 KL, or cross-entropy); None at step 0."""
    rate: float | None = None
    held_out: float | None = None
    """KL to the teacher on the held-out answers at temperature 1, where it was measured."""


@dataclass(frozen=True)
class DistillReport:
    """What a distillation did, as it is stored and shown."""

    curve: tuple[CurvePoint, ...]
    kl_before: Estimate
    """Held-out KL to the teacher of the base with the neutral prompt, nats a token."""
    kl_after: Estimate
    """The same of the student at the end."""
    kl_change: Estimate
    """After minus before, paired by answer; below 0 is better."""
    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    dropped: int
    steps: int
    tokens: int
    """Tokens that the student read in training, prompts included."""
    seconds: float
    peak_memory_bytes: int | None
    config: DistillConfig = field(default_factory=DistillConfig)

    @property
    def tokens_per_second(self) -> float | None:
        """Training speed, prompts included."""
        return self.tokens / self.seconds if self.seconds > 0 else None
