"""How hard is a task for a model? Its solve rate at each level, before any training.

GRPO learns from groups in which some rollouts are right and some wrong. Where a model is always or
never right there is nothing to learn, so the level whose rate lies in 20-60 %, nearest to 40 %, is
taken; where no level lies there, the nearest one, and the run says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prism_core.models.generator import Generator
from prism_core.progress import Progress
from prism_core.rl.evaluation import Asking, rewards_of
from prism_core.rl.tasks import Family, draw_items, examples_of
from prism_core.stats import mean_of
from prism_core.types import Estimate

LOW, AIM, HIGH = 0.2, 0.4, 0.6
"""The band of solve rates in which learning is quick, and its middle."""
_ITEMS, _SAMPLES = 24, 2


@dataclass(frozen=True)
class LevelRate:
    """What a model solves at one level."""

    level: int
    name: str
    rate: Estimate
    """Share of sampled answers that are right, clustered by item."""

    @property
    def is_fit(self) -> bool:
        """Whether the rate lies in the band."""
        return self.rate.value is not None and LOW <= self.rate.value <= HIGH


def probe_level(
    model: Generator,
    family: Family,
    level: int,
    progress: Progress,
    temperature: float = 1.0,
    seed: int = 0,
) -> LevelRate:
    """Measure one level on training questions, sampled as rollouts are.

    Raises:
        CancelledError: stopped on request.
    """
    items = draw_items(family, level, "train", _ITEMS, seed)
    asking = Asking(
        examples_of(family, level),
        family.tokens,
        temperature,
        repeats=_SAMPLES,
        seed=seed,
        purpose="probe",
    )
    rewards = rewards_of(model, items, asking, progress)
    rates = [sum(values) / _SAMPLES for values in rewards.values()]
    return LevelRate(level, family.levels[level].name, mean_of(rates, bounds=(0.0, 1.0)))


def choose_level(rates: Sequence[LevelRate]) -> LevelRate:
    """Return the level to train on: the nearest to the band's middle, inside it if any is."""
    known = [(abs(r.rate.value - AIM), r) for r in rates if r.rate.value is not None]
    fit = [pair for pair in known if pair[1].is_fit]
    return min(fit or known, key=lambda pair: pair[0])[1]
