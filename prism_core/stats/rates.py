"""Rates: how often something happened, with Wilson's interval.

Wilson's interval stays inside 0..1 and keeps its coverage near the ends and for small n, where the
textbook p +- 1.96 s.e. fails. It assumes independent trials: one row for each item. Where items
were repeated over seeds, average inside the item (`item_scores`) and use `mean_of` instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binomtest

from prism_core.errors import InputError
from prism_core.stats.checks import at_least, binary_array, open_unit, undefined
from prism_core.types import Estimate, Verdict


def rate(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Estimate a rate from counts, with Wilson's score interval.

    Args:
        successes: How often it happened, 0..n.
        n: Independent trials. 0 gives an undefined estimate.
        level: Coverage of the interval.

    Raises:
        InputError: A count is negative or not whole, or there are more successes than trials.
    """
    at_least(successes, 0, "successes")
    at_least(n, 0, "n")
    open_unit(level, "level")
    if successes > n:
        raise InputError(f"{successes} successes in {n} trials; there cannot be more than trials")
    if n == 0:
        return undefined(0, level)
    interval = binomtest(int(successes), int(n)).proportion_ci(level, method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), int(n), level)


def rate_of(outcomes: Sequence[bool], *, level: float = 0.95) -> Estimate:
    """Estimate how often `outcomes` are true; each is an independent item.

    Raises:
        InputError: A value is neither true nor false (1 or 0).
    """
    hits = binary_array(outcomes, "outcomes")
    return rate(int(hits.sum()), len(hits), level=level)


def order_consistency(verdicts: Sequence[Verdict]) -> Estimate:
    """Estimate how often a pairwise judge chose the same answer in both orders.

    A judge that follows the position instead of the answers scores 0, one that is always sure of
    an answer scores 1, and a coin in each order scores 1/2 (PRISM, verification stage).
    """
    return rate_of([verdict.is_consistent for verdict in verdicts])
