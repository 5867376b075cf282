"""Which samples are read when, and how fast: pure functions of the settings, the seed and the step.

Every epoch has its own order. Neighbours in a batch are of similar length, so that little is
padding, and yet differ from epoch to epoch. A batch that is too large for the memory is read in
parts whose gradients add up to the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prism_core.inference.widths import batches_by_width

Schedule = Literal["cosine", "constant"]
_SORTED_TOGETHER = 8
"""Batches whose samples are sorted by length together."""
_JITTER = 0.15
"""Lengths vary by up to this share while sorting, so that batches mix differently each epoch."""


@dataclass(frozen=True)
class TrainingPlan:
    """The order of a whole training run."""

    lengths: tuple[int, ...]
    batch: int
    epochs: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch; its last batch may be smaller."""
        return math.ceil(len(self.lengths) / self.batch)

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.steps_per_epoch * self.epochs

    def rows(self, step: int) -> list[int]:
        """Return the samples of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._epoch(epoch)[place]

    def _epoch(self, epoch: int) -> list[list[int]]:
        draw = random.Random(f"{self.seed}/{epoch}")
        order = list(range(len(self.lengths)))
        draw.shuffle(order)
        span = self.batch * _SORTED_TOGETHER
        batches: list[list[int]] = []
        for start in range(0, len(order), span):
            key = {
                i: self.lengths[i] * draw.uniform(1 - _JITTER, 1 + _JITTER)
                for i in order[start : start + span]
            }
            ranked = sorted(key, key=key.__getitem__)
            batches += [ranked[i : i + self.batch] for i in range(0, len(ranked), self.batch)]
        draw.shuffle(batches)
        return batches


def micro_batches(rows: Sequence[int], lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Part rows into batches whose padded size stays within `max_tokens`, or of one row."""
    ordered = sorted(rows)
    widths = [lengths[i] for i in ordered]
    return [[ordered[k] for k in part] for part in batches_by_width(widths, max_tokens)]


def learning_rate(step: int, steps: int, peak: float, warmup: float, schedule: Schedule) -> float:
    """Return a step's rate: a linear rise to the peak, then a cosine fall to 0, or a plateau.

    Steps are counted from 0; `warmup` is the share of them that the rise takes.
    """
    rise = round(warmup * steps)
    if step < rise:
        return peak * (step + 1) / (rise + 1)
    if schedule == "constant":
        return peak
    return peak * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2
