"""Non-inferiority: "no worse than neutral by more than delta", said only when the data show it.

A difference that is "not significant" may hide a loss; this verdict looks at the whole interval.
With the 95 % two-sided interval it is a one-sided test at 2.5 %, the usual choice:
low > -delta: non-inferior; high < -delta: inferior; anything else: inconclusive. Below a minimum
number of items no verdict is given at all. Delta belongs to the plan, before the data are seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prism_core.stats.checks import at_least, positive
from prism_core.types import Estimate

MINIMUM_ITEMS = 20
"""Below this many items the app shows numbers but gives no verdict."""

NonInferiorityVerdict = Literal["non-inferior", "inferior", "inconclusive", "too few items"]


@dataclass(frozen=True)
class NonInferiority:
    """Whether a treatment is no worse than its control by more than delta."""

    verdict: NonInferiorityVerdict
    """What the interval allows to say."""
    difference: Estimate
    """Treatment minus control, higher is better."""
    delta: float
    """The largest loss that is still acceptable, in the score's units."""
    minimum: int
    """The fewest items on which a verdict is given."""

    @property
    def reading(self) -> str:
        """One sentence for people."""
        if self.verdict == "too few items":
            return f"{self.difference.n} items are too few for a verdict; it takes {self.minimum}."
        if self.verdict == "non-inferior":
            return f"No worse by more than {self.delta:g}: the interval lies above -{self.delta:g}."
        if self.verdict == "inferior":
            return f"Worse by more than {self.delta:g}: the interval lies below -{self.delta:g}."
        if self.difference.low is None:
            return "The items leave no interval, so nothing can be said either way."
        return f"The interval holds -{self.delta:g}, so nothing can be said either way."


def noninferiority(
    difference: Estimate, delta: float, *, minimum: int = MINIMUM_ITEMS
) -> NonInferiority:
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
    return NonInferiority(_verdict(difference, delta, minimum), difference, delta, minimum)


def _verdict(difference: Estimate, delta: float, minimum: int) -> NonInferiorityVerdict:
    if difference.n < minimum:
        return "too few items"
    if difference.low is not None and difference.low > -delta:
        return "non-inferior"
    if difference.high is not None and difference.high < -delta:
        return "inferior"
    return "inconclusive"
