"""Effects: a paired difference with its interval, and what may be said about it.

The intervals of a whole figure are computed in one go (`stats.paired_differences`). A difference is
called an effect only if its interval leaves out 0, and on fewer than `MINIMUM_ITEMS` items no
verdict is given at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

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
"""Ends this close to 0 differ from it by rounding alone."""
_FEW_CHANGED = 13
_Place = TypeVar("_Place")


@dataclass(frozen=True)
class Effect:
    """One difference from neutral (or between two arms), with both mean scores on these items."""

    estimate: Estimate
    before: float | None
    after: float | None

    @property
    def call(self) -> Call:
        """What may be said about it; see `call_of`."""
        return call_of(self.estimate)

    @property
    def is_clear(self) -> bool:
        """Whether its interval leaves out 0, on enough items."""
        return self.call in ("up", "down")


def call_of(estimate: Estimate) -> Call:
    """Return what may be said about a difference."""
    if estimate.value is None or estimate.n < MINIMUM_ITEMS:
        return "too few"
    if estimate.low is None or estimate.high is None:
        return "none"
    if estimate.low > _ZERO:
        return "up"
    return "down" if estimate.high < -_ZERO else "none"


def effects_of(cells: Sequence[Pairs]) -> list[Effect]:
    """Return the effects of many paired samples of scores between 0 and 1."""
    found = paired_differences(cells, bounds=(0.0, 1.0))
    return [
        Effect(estimate, _mean(pairs.control), _mean(pairs.treatment))
        for estimate, pairs in zip(found, cells, strict=True)
    ]


def effects_at(cells: Iterable[tuple[_Place, Pairs]]) -> list[tuple[_Place, Effect]]:
    """Return every place's effect, leaving out places without an item."""
    kept = [(place, pairs) for place, pairs in cells if pairs.n]
    effects = effects_of([pairs for _, pairs in kept])
    return [(place, effect) for (place, _), effect in zip(kept, effects, strict=True)]


def rates_of(cells: Sequence[FloatArray]) -> tuple[Estimate, ...]:
    """Return mean scores between 0 and 1, each with its interval."""
    return means_of(cells, bounds=(0.0, 1.0))


def holm_p(cells: Sequence[Pairs]) -> tuple[float | None, ...]:
    """Return the p of every cell with enough items, corrected over all of them by Holm.

    Exact McNemar where every item is right or wrong, Wilcoxon's signed ranks otherwise.
    """
    return holm([_p_value(p) if p.n >= MINIMUM_ITEMS else None for p in cells])


def p_values(cells: Sequence[Pairs]) -> tuple[float | None, ...]:
    """Return the uncorrected p of every cell, by the same tests."""
    return tuple(_p_value(pairs) for pairs in cells)


@lru_cache(maxsize=4_096)
def _p_value(pairs: Pairs) -> float | None:
    differences = pairs.differences
    if {*pairs.treatment, *pairs.control} <= {0.0, 1.0}:
        return mcnemar(pairs)
    # Exact ranks of few tied items cost seconds; flipping their signs is exact and quick.
    few = (abs(differences) > _ZERO).sum() <= _FEW_CHANGED
    return permutation(pairs) if few else wilcoxon(pairs)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
