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
from prism_core.rl.tasks import Family, ask, draw_items, examples_of
from prism_core.scorers.graders import grade
from prism_core.stats import mean_of
from prism_core.storage.journal import seed_of
from prism_core.types import Estimate, Sampling

LOW, AIM, HIGH = 0.2, 0.4, 0.6
"""The band of solve rates in which learning is quick, and its middle."""


@dataclass(frozen=True)
class LevelRate:
    """What a model solves at one level."""

    level: int
    """Index of the level in its family."""
    name: str
    """The level's name."""
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
    *,
    items: int = 24,
    samples: int = 2,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> LevelRate:
    """Measure one level on training questions, sampled as rollouts are.

    Raises:
        CancelledError: stopped on request.
    """
    drawn = draw_items(family, level, "train", items, seed)
    examples = examples_of(family, level)
    asked = [item for item in drawn for _ in range(samples)]
    seeds = [seed_of("probe", seed, item.id, i) for item in drawn for i in range(samples)]
    answers = model.generate(
        [ask(item, examples) for item in asked],
        Sampling(max_new_tokens=family.tokens, temperature=temperature),
        seeds,
        cancel=progress.cancel if progress else None,
    )
    if progress is not None:
        progress.check()
    right = [float(bool(grade(i, a.text).passed)) for i, a in zip(asked, answers, strict=True)]
    means = [sum(right[k : k + samples]) / samples for k in range(0, len(right), samples)]
    return LevelRate(level, family.levels[level].name, mean_of(means, bounds=(0.0, 1.0)))


def choose_level(rates: Sequence[LevelRate]) -> LevelRate:
    """The level to train on: of those in the band, or else of all, the nearest to its middle."""
    known = [(abs(r.rate.value - AIM), r) for r in rates if r.rate.value is not None]
    fit = [pair for pair in known if pair[1].is_fit]
    return min(fit or known, key=lambda pair: pair[0])[1]
