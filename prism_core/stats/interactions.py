"""Interactions: does an effect depend on something else (length, placement, category)?

An interaction is a difference of paired differences, e.g. (persona - neutral) with the long text
minus (persona - neutral) with the short one. On shared items it is itself paired by item. Between
two disjoint groups of items (two categories) the effects are independent, and the interval comes
from theirs by the MOVER rule (Zou & Donner 2008), which keeps their asymmetry:
low = d - sqrt((a - a_low)^2 + (b_high - b)^2), high = d + sqrt((a_high - a)^2 + (b - b_low)^2).
"""

from __future__ import annotations

import math

from prism_core.stats.checks import undefined
from prism_core.stats.means import Bounds, mean_of
from prism_core.stats.samples import ItemScores, Pairs, pair
from prism_core.types import Estimate


def interaction(first: Pairs, second: Pairs, *, bounds: Bounds | None = None) -> Estimate:
    """Estimate the first paired effect minus the second, on the items that both have.

    `bounds` are those of a *score*; the contrast is within twice their span.

    Raises:
        InputError: The two share no item; see `group_interaction` for that case.
    """
    both = pair(_effects(first), _effects(second))
    span = None if bounds is None else 2 * (bounds[1] - bounds[0])
    return mean_of(both.differences, bounds=None if span is None else (-span, span))


def group_interaction(first: Estimate, second: Estimate) -> Estimate:
    """Estimate the first effect minus the second where they rest on different items.

    The interval is MOVER's; `n` is that of the smaller group.
    """
    n = min(first.n, second.n)
    if first.value is None or second.value is None:
        return undefined(n)
    value = first.value - second.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(value, None, None, n)
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - below, value + above, n)


def _effects(pairs: Pairs) -> ItemScores:
    return ItemScores(pairs.items, tuple(pairs.differences.tolist()))
