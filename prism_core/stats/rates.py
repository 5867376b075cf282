"""Rates: how often something happened, with Wilson's interval.

Wilson's interval stays inside 0..1 and keeps its coverage near the ends and for small n, where the
textbook p +- 1.96 s.e. fails. It assumes independent trials: one row for each item. Where items
were repeated over seeds, average inside the item (`item_scores`) and use `mean_of` instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from prism_core.errors import InputError
from prism_core.stats.checks import at_least, binary_array, undefined
from prism_core.stats.proportions import wilson
from prism_core.types import Estimate, Verdict


def rate(successes: int, n: int) -> Estimate:
    """Estimate a rate from counts of independent trials; without a trial it is undefined."""
    at_least(successes, 0, "successes")
    at_least(n, 0, "n")
    if successes > n:
        raise InputError(f"{successes} successes in {n} trials; there cannot be more than trials")
    if n == 0:
        return undefined(0)
    return Estimate(successes / n, *wilson(int(successes), int(n)), int(n))


def rate_of(outcomes: Sequence[bool]) -> Estimate:
    """Estimate how often `outcomes` are true; each is an independent item."""
    hits = binary_array(outcomes, "outcomes")
    return rate(int(hits.sum()), len(hits))


def order_consistency(verdicts: Sequence[Verdict]) -> Estimate:
    """Estimate how often a pairwise judge chose the same answer in both orders.

    A judge that follows the position instead of the answers scores 0, one that is always sure of
    an answer scores 1, and a coin in each order scores 1/2 (PRISM, verification stage).
    """
    return rate_of([verdict.is_consistent for verdict in verdicts])
