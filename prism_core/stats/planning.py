"""Before the start: the smallest effect that n items can show.

This is the normal approximation for a two-sided paired test: the mean difference of n items has
standard error sd / sqrt(n), and it is found with a given power if it is at least
(z[1 - alpha/2] + z[power]) * sd / sqrt(n). For one right/wrong answer an item the difference is
-1, 0 or 1, so without an effect sd = sqrt(share of items on which the arms disagree).
Over a grid of m comparisons alpha is divided by m, Holm's worst case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import norm

from prism_core.errors import InputError
from prism_core.stats.checks import at_least, positive

_POWER, _ALPHA = 0.8, 0.05


@dataclass(frozen=True)
class Detectable:
    """An effect and the number of paired items that can show it."""

    effect: float
    """Mean paired difference, in the score's units."""
    n: int
    sd: float
    power: float
    alpha: float
    """Two-sided error rate of the whole grid."""
    comparisons: int


def smallest_detectable(n: int, sd: float, *, comparisons: int = 1) -> Detectable:
    """Return the smallest mean paired difference that `n` items find four times out of five.

    `sd` is that of the items' differences, from a pilot or `right_wrong_sd`; the `comparisons`
    share a two-sided alpha of 5 %.
    """
    at_least(n, 2, "n")
    positive(sd, "sd")
    at_least(comparisons, 1, "comparisons")
    errors = float(norm.ppf(1 - _ALPHA / (2 * comparisons)) + norm.ppf(_POWER))
    return Detectable(errors * sd / math.sqrt(n), n, sd, _POWER, _ALPHA, comparisons)


def right_wrong_sd(disagreement: float) -> float:
    """Return the standard deviation of right/wrong differences without an effect.

    `disagreement` is the share of items that one arm gets right and the other wrong.
    """
    if not 0 < disagreement <= 1:
        raise InputError(f"disagreement is {disagreement!r}; it must be above 0 and at most 1")
    return math.sqrt(disagreement)
