"""Non-inferiority: "no worse than neutral by more than delta", said only when the data show it.

A difference that is "not significant" may hide a loss; this verdict looks at the whole interval.
With the 95 % two-sided interval it is a one-sided test at 2.5 %, the usual choice:
low > -delta: non-inferior; high < -delta: inferior; anything else: inconclusive. Below a minimum
number of items no verdict is given at all. Choose delta before the data are seen.
"""

from __future__ import annotations

from typing import Literal

from prism_core.stats.checks import at_least, positive
from prism_core.types import Estimate

MINIMUM_ITEMS = 20
"""Below this many items the app shows numbers but gives no verdict."""

NonInferiorityVerdict = Literal["non-inferior", "inferior", "inconclusive", "too few items"]


def noninferiority(
    difference: Estimate, delta: float, *, minimum: int = MINIMUM_ITEMS
) -> NonInferiorityVerdict:
    """Judge a paired difference against the largest acceptable loss.

    Args:
        difference: Treatment minus control where higher is better, e.g. from `paired_difference`.
            Negate it first for a score where lower is better.
        delta: The largest acceptable loss, above 0, in the score's units.
        minimum: The fewest items on which a verdict is given.

    Raises:
        InputError: `delta` is not above 0, or `minimum` is below 2.
    """
    positive(delta, "delta")
    at_least(minimum, 2, "minimum")
    if difference.n < minimum:
        return "too few items"
    if difference.low is not None and difference.low > -delta:
        return "non-inferior"
    if difference.high is not None and difference.high < -delta:
        return "inferior"
    return "inconclusive"
