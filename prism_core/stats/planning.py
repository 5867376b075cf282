"""Before the start: the smallest effect that n items can show, by the test that will be made.

The power of exact McNemar is counted, not approximated. If the arms disagree on a share s of items
and one is better by e, its answer is right alone on (s + e) / 2 of them and wrong alone on
(s - e) / 2; an effect beyond s takes s with it. The number of changed items is binomial, and so is
the number of better ones among them. Holm's correction is met at its first step, p times the number
of comparisons below 5 %: that is what one effect among cells without any has to pass. A normal
approximation would promise 80 % where the exact test finds 5 %, for p is never below 2 / 2^changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy

from prism_core.errors import InputError
from prism_core.stats.checks import at_least
from prism_core.stats.significance import ALPHA, MINIMUM_ITEMS

POWER = 0.8
_STEP = 0.005
"""Effects are tried in steps of half a point."""


@dataclass(frozen=True)
class Detectable:
    """An effect on right or wrong answers, and the number of paired items that can show it."""

    effect: float | None
    """Mean paired difference; None where no effect is found so often, or no verdict is given."""
    n: int
    comparisons: int
    """How many cells share the two-sided alpha of 5 %."""
    power: float = POWER

    @property
    def words(self) -> str:
        """The effect as people read it, or why there is none."""
        if self.n < MINIMUM_ITEMS:
            return f"no verdict possible: fewer than {MINIMUM_ITEMS} items"
        if self.effect is None:
            return "no effect is found so often: ask more items"
        return f"{math.ceil(self.effect * 100 - 1e-9)} points"


@lru_cache(maxsize=1_024)
def smallest_detectable(n: int, disagreement: float, *, comparisons: int = 1) -> Detectable:
    """Return the smallest effect that `n` items find four times out of five.

    `disagreement` is the share of items on which two arms differ that are equally good.
    """
    at_least(n, 1, "n")
    at_least(comparisons, 1, "comparisons")
    if n >= MINIMUM_ITEMS:
        for step in range(1, round(1 / _STEP) + 1):
            effect = step * _STEP
            if mcnemar_power(n, effect, disagreement, comparisons=comparisons) >= POWER:
                return Detectable(effect, n, comparisons)
    return Detectable(None, n, comparisons)


def mcnemar_power(n: int, effect: float, disagreement: float, *, comparisons: int = 1) -> float:
    """Return how often `n` items show an effect of that size at 5 %, shared by `comparisons`."""
    if not 0 < disagreement <= 1:
        raise InputError(f"disagreement is {disagreement!r}; it must be above 0 and at most 1")
    differ = max(disagreement, effect)
    better = (1 + effect / differ) / 2
    changed = np.arange(n + 1)
    # The largest number of losers, or of winners, that is still rejected; -1 for none.
    most = scipy.stats.binom.ppf(ALPHA / (2 * comparisons), changed, 0.5)
    most = np.where(
        2 * scipy.stats.binom.cdf(most, changed, 0.5) * comparisons < ALPHA, most, most - 1
    )
    found = scipy.stats.binom.cdf(most, changed, 1 - better) + scipy.stats.binom.cdf(
        most, changed, better
    )
    return float(scipy.stats.binom.pmf(changed, n, differ) @ found)
