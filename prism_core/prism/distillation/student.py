"""The student: base + LoRA, read and updated a batch at a time, on one process or on many.

Each process reads its share of a batch's rows; losses are sums divided by the positions of the
*whole* batch, so that one process, many processes and parts of a batch give the same gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import Accelerator
from peft import PeftModel
from transformers import PreTrainedModel

from prism_core.prism.distillation.losses import ChunkLoss, chunked_sum, sft_loss, topk_kl
from prism_core.prism.distillation.teacher import Teacher
from prism_core.prism.distillation.teacher_forcing import (
    AnswerStates,
    ForcedAnswer,
    head_of,
    pad_forced,
)
from prism_core.prism.distillation.training_plan import micro_batches

Loss = Literal["kl", "sft"]
_NO_TARGET = -100  # what PyTorch's cross-entropy skips


@dataclass(frozen=True)
class StepSettings:
    """How a batch becomes an update."""

    loss: Loss
    """`kl` to the teacher's distribution, or `sft` on its tokens."""
    clip: float
    """Largest norm of the gradient."""
    weight_decay: float
    """Of AdamW."""
    micro_tokens: int
    """Padded tokens whose activations exist at one time."""


class Student:
    """A LoRA with its optimiser, and the samples that it is trained on."""

    def __init__(
        self,
        model: PreTrainedModel,
        peft: PeftModel,
        samples: Sequence[ForcedAnswer],
        teacher: Teacher | None,
        settings: StepSettings,
        accelerator: Accelerator,
    ) -> None:
        self.device = model.device
        self.samples, self.teacher, self.settings = list(samples), teacher, settings
        self.lengths = tuple(len(s.student) + len(s.answer) for s in samples)
        self.accelerator = accelerator
        self.params = {n: p for n, p in peft.named_parameters() if p.requires_grad}
        self.states_of = AnswerStates(model.get_decoder())
        self.logits_of = head_of(model)
        adam = torch.optim.AdamW(
            list(self.params.values()), weight_decay=settings.weight_decay, fused=True
        )
        self.adam = adam
        self._module, self._optimizer = accelerator.prepare(
            self.states_of, adam, device_placement=[False, False]
        )

    def step(self, rows: Sequence[int], rate: float) -> float:
        """Update once on the samples of a batch; returns their mean loss a position, in nats."""
        for group in self.adam.param_groups:
            group["lr"] = rate
        world = self.accelerator.num_processes
        # A process without a row of its own still takes part in the exchange, with weight 0.
        mine = list(rows[self.accelerator.process_index :: world])
        weight = world / sum(self._targets(i) for i in rows) if mine else 0.0
        parts = micro_batches(mine or rows[:1], self.lengths, self.settings.micro_tokens)
        total = torch.zeros((), device=self.device)
        for number, part in enumerate(parts, start=1):
            last = number == len(parts)
            with nullcontext() if last else self.accelerator.no_sync(self._module):
                chosen = [self.samples[i] for i in part]
                ids, index = pad_forced([s.student for s in chosen], chosen, self.device)
                states = self._module(ids, index)
                loss = chunked_sum(states, self._loss_of(part)) * weight
                self.accelerator.backward(loss)
            total += loss.detach()
        self.accelerator.clip_grad_norm_(list(self.params.values()), self.settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(self.accelerator.reduce(total, "mean"))

    def forget_gradients(self) -> None:
        """Drop what a step that was broken off has left behind."""
        self.adam.zero_grad()

    def _targets(self, i: int) -> int:
        """Positions of a sample that the loss counts."""
        sample = self.samples[i]
        known = self.settings.loss == "kl" or sample.end is not None
        return sample.positions if known else sample.positions - 1

    def _loss_of(self, part: Sequence[int]) -> ChunkLoss:
        if self.settings.loss == "sft" or self.teacher is None:
            targets = torch.tensor(
                [t for i in part for t in _targets_of(self.samples[i])], device=self.device
            )
            return lambda states, span: sft_loss(self.logits_of(states), targets[span])
        rows, heat = self.teacher.of(part, self.device), self.teacher.temperature
        logprobs = rows.logprobs(heat)
        return lambda states, span: topk_kl(
            self.logits_of(states), rows.ids[span], logprobs[span], heat
        )


def _targets_of(sample: ForcedAnswer) -> list[int]:
    return [*sample.answer, _NO_TARGET if sample.end is None else sample.end]
