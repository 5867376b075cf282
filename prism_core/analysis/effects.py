"""Effects: a paired difference with its interval, and what may be said about it.

The whole figure's intervals are computed in one go (`stats.paired_differences`). An effect is
called one only if its interval leaves out 0, and on fewer than `MINIMUM_ITEMS` items nothing is
called at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from prism_core.stats import (
    MINIMUM_ITEMS,
    Pairs,
    holm,
    mcnemar,
    means_of,
    paired_differences,
    permutation,
    wilcoxon,
)
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
"""Ends this close to 0 are 0 but for rounding."""
_FEW_CHANGED = 13


@dataclass(frozen=True)
class Effect:
    """One difference from neutral (or between two arms)."""

    estimate: Estimate
    """The mean difference of the items, with its interval."""
    before: float | None
    """Mean score of the control on these items."""
    after: float | None
    """Mean score of the treatment on these items."""

    @property
    def call(self) -> Call:
        """What may be said about it."""
        return call_of(self.estimate)

    @property
    def is_clear(self) -> bool:
        """Whether its interval leaves out 0, on enough items."""
        return self.call in ("up", "down")


def call_of(estimate: Estimate) -> Call:
    """What may be said about a difference."""
    if estimate.value is None or estimate.n < MINIMUM_ITEMS:
        return "too few"
    if estimate.low is None or estimate.high is None:
        return "none"
    if estimate.low > _ZERO:
        return "up"
    return "down" if estimate.high < -_ZERO else "none"


def effects_of(cells: Sequence[Pairs]) -> list[Effect]:
    """The effects of many paired samples of scores between 0 and 1."""
    found = paired_differences(cells, bounds=(0.0, 1.0))
    return [
        Effect(estimate, _mean(pairs.control), _mean(pairs.treatment))
        for estimate, pairs in zip(found, cells, strict=True)
    ]


def effect_of(pairs: Pairs) -> Effect:
    """The effect of one paired sample."""
    return effects_of([pairs])[0]


def rates_of(cells: Sequence[FloatArray]) -> tuple[Estimate, ...]:
    """Mean scores between 0 and 1, each with its interval."""
    return means_of(cells, bounds=(0.0, 1.0))


def holm_p(cells: Sequence[Pairs]) -> tuple[float | None, ...]:
    """The p of every cell with enough items, corrected over all of them by Holm.

    Exact McNemar where every item is right or wrong, Wilcoxon's signed ranks otherwise.
    """
    return holm([_p_value(p) if p.n >= MINIMUM_ITEMS else None for p in cells])


def p_values(cells: Sequence[Pairs]) -> tuple[float | None, ...]:
    """The uncorrected p of every cell, by the same tests."""
    return tuple(_p_value(pairs) for pairs in cells)


@lru_cache(maxsize=4_096)
def _p_value(pairs: Pairs) -> float | None:
    differences = pairs.differences
    binary = {*pairs.treatment, *pairs.control} <= {0.0, 1.0}
    if binary:
        return mcnemar(pairs)
    # Exact ranks of few tied items cost seconds; flipping their signs is exact and quick.
    few = (abs(differences) > _ZERO).sum() <= _FEW_CHANGED
    return permutation(pairs) if few else wilcoxon(pairs)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
