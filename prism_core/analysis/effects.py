"""Effects: a paired difference with its interval, and what may be said about it.

A difference is called an effect where the exact test of it rejects "no difference" at 5 %
(`stats.paired_p`), and on fewer than `MINIMUM_ITEMS` items no verdict is given at all. Where the
test rejects, the interval beside it leaves out 0; the other way round the exact test can be the
stricter one, as where 5 of 96 items change and all get worse, and then no effect is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from prism_core.stats import ALPHA, MINIMUM_ITEMS, Pairs, holm, mean_of, paired_difference, paired_p
from prism_core.stats.checks import FloatArray
from prism_core.types import Estimate

Call = Literal["up", "down", "none", "too few"]
CALL_WORDS: dict[Call, str] = {
    "up": "better",
    "down": "worse",
    "none": "no clear change",
    "too few": "too few items for a verdict",
}
_ZERO = 1e-9
"""Ends this close to 0 differ from it by rounding alone."""
_Place = TypeVar("_Place")


@dataclass(frozen=True)
class Effect:
    """One difference from neutral (or between two arms), with both mean scores on these items."""

    estimate: Estimate
    before: float | None
    after: float | None
    p: float | None
    """Two-sided, uncorrected, of `stats.paired_p`; None without items."""

    @property
    def call(self) -> Call:
        """What may be said about it: never anything else than its p says."""
        value = self.estimate.value
        if value is None or self.p is None or self.estimate.n < MINIMUM_ITEMS:
            return "too few"
        if self.p >= ALPHA:
            return "none"
        return "up" if value > 0 else "down"

    @property
    def is_clear(self) -> bool:
        """Whether it may be called an effect."""
        return self.call in ("up", "down")


def call_of(estimate: Estimate) -> Call:
    """Return what may be said about a difference that has an interval alone, by that."""
    if estimate.value is None or estimate.n < MINIMUM_ITEMS:
        return "too few"
    if estimate.low is None or estimate.high is None:
        return "none"
    if estimate.low > _ZERO:
        return "up"
    return "down" if estimate.high < -_ZERO else "none"


def effects_of(cells: Sequence[Pairs]) -> list[Effect]:
    """Return the effects of many paired samples of scores between 0 and 1."""
    return [
        Effect(
            paired_difference(pairs, bounds=(0.0, 1.0)),
            _mean(pairs.control),
            _mean(pairs.treatment),
            paired_p(pairs),
        )
        for pairs in cells
    ]


def effects_at(cells: Iterable[tuple[_Place, Pairs]]) -> list[tuple[_Place, Effect]]:
    """Return every place's effect, leaving out places without an item."""
    kept = [(place, pairs) for place, pairs in cells if pairs.n]
    effects = effects_of([pairs for _, pairs in kept])
    return [(place, effect) for (place, _), effect in zip(kept, effects, strict=True)]


def rates_of(cells: Sequence[FloatArray]) -> tuple[Estimate, ...]:
    """Return mean scores between 0 and 1, each with its interval."""
    return tuple(mean_of(cell, bounds=(0.0, 1.0)) for cell in cells)


def holm_p(effects: Sequence[Effect]) -> tuple[float | None, ...]:
    """Return the p of every effect on enough items, corrected over all of them by Holm."""
    return holm([e.p if e.estimate.n >= MINIMUM_ITEMS else None for e in effects])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
