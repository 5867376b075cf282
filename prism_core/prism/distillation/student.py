"""The student: base + LoRA, read and updated a batch at a time, on one process or on many.

Each process reads its share of a batch's rows; losses are sums divided by the positions of the
*whole* batch, so that one process, many processes and parts of a batch give the same gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from peft import PeftModel
from transformers import PreTrainedModel

from prism_core.prism.distillation.losses import ChunkLoss, chunked_sum, sft_loss, topk_kl
from prism_core.prism.distillation.report import DistillConfig
from prism_core.prism.distillation.teacher import Teacher
from prism_core.prism.distillation.teacher_forcing import (
    AnswerStates,
    ForcedAnswer,
    head_of,
    pad_forced,
)
from prism_core.prism.distillation.training_plan import micro_batches

_NO_TARGET = -100  # what PyTorch's cross-entropy skips


class Student:
    """A LoRA with its optimiser, and the samples that it is trained on."""

    def __init__(
        self,
        model: PreTrainedModel,
        peft: PeftModel,
        samples: Sequence[ForcedAnswer],
        teacher: Teacher | None,
        config: DistillConfig,
        accelerator: Accelerator,
    ) -> None:
        self.device = model.device
        self.samples, self.teacher, self.config = list(samples), teacher, config
        self.lengths = tuple(len(s.student) + len(s.answer) for s in samples)
        self.accelerator = accelerator
        self.params = {n: p for n, p in peft.named_parameters() if p.requires_grad}
        self.states_of = AnswerStates(model.get_decoder())
        self.logits_of = head_of(model)
        self.adam = torch.optim.AdamW(
            list(self.params.values()), weight_decay=config.weight_decay, fused=True
        )
        self._module, self._optimizer = accelerator.prepare(
            self.states_of, self.adam, device_placement=[False, False]
        )

    def step(self, rows: Sequence[int], rate: float) -> float:
        """Update once on the samples of a batch; return their mean loss a position, in nats."""
        for group in self.adam.param_groups:
            group["lr"] = rate
        world = self.accelerator.num_processes
        # A process without a row of its own still takes part in the exchange, with weight 0.
        mine = list(rows[self.accelerator.process_index :: world])
        weight = world / sum(self._targets(i) for i in rows) if mine else 0.0
        parts = micro_batches(mine or rows[:1], self.lengths, self.config.micro_tokens)
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
        self.accelerator.clip_grad_norm_(list(self.params.values()), self.config.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(self.accelerator.reduce(total, "mean"))

    def forget_gradients(self) -> None:
        """Drop what an interrupted step has left behind."""
        self.adam.zero_grad()

    def _targets(self, i: int) -> int:
        """Return how many positions of a sample the loss counts."""
        sample = self.samples[i]
        known = self.config.loss == "kl" or sample.end is not None
        return sample.positions if known else sample.positions - 1

    def _loss_of(self, part: Sequence[int]) -> ChunkLoss:
        if self.config.loss == "sft" or self.teacher is None:
            targets = torch.tensor(
                [
                    t
                    for sample in (self.samples[i] for i in part)
                    for t in (*sample.answer, _NO_TARGET if sample.end is None else sample.end)
                ],
                device=self.device,
            )
            return lambda states, span: sft_loss(self.logits_of(states), targets[span])
        rows, temperature = self.teacher.of(part, self.device), self.teacher.temperature
        logprobs = rows.logprobs(temperature)
        return lambda states, span: topk_kl(
            self.logits_of(states), rows.ids[span], logprobs[span], temperature
        )
