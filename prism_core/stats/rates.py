"""Rates: how often something happened, with Wilson's interval.

Wilson's interval stays inside 0..1 and keeps its coverage near the ends and for small n, where the
textbook p +- 1.96 s.e. fails. It assumes independent trials: one row for each item. Where items
were repeated over seeds, average inside the item (`item_scores`) and use `mean_of` instead; where
rows share a topic, `grouped_rate` counts as many trials as the spread between topics leaves.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from prism_core.errors import InputError
from prism_core.stats.checks import LEVEL, at_least, binary_array, same_length, undefined
from prism_core.stats.proportions import Z, wilson
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


def rate_of(outcomes: Sequence[bool], groups: Sequence[Hashable] | None = None) -> Estimate:
    """Estimate how often `outcomes` are true; rows of one group, such as a topic, go together."""
    hits = binary_array(outcomes, "outcomes")
    if groups is None:
        return rate(int(hits.sum()), len(hits))
    same_length("outcomes", len(hits), "groups", len(groups))
    where = group_numbers(groups)
    return grouped_rate(np.bincount(where, hits).tolist(), np.bincount(where).tolist())


def grouped_rate(hits: Sequence[float], trials: Sequence[float]) -> Estimate:
    """Estimate a rate from each group's hits and trials.

    The variance is that between groups (the ratio's linearisation, Student's t of one less than
    there are groups). Wilson's interval is taken at the number of independent trials that would
    have it; where nothing varies, as at a rate of 0 or 1, each group is one trial. `n` counts all
    trials. A single group has no interval.
    """
    used = np.array([(h, t) for h, t in zip(hits, trials, strict=True) if t], dtype=np.float64)
    if not len(used):
        return undefined(0)
    total, groups = float(used[:, 1].sum()), len(used)
    share, n = float(used[:, 0].sum()) / total, int(total)
    if groups == n:
        return rate(round(share * n), n)
    if groups == 1:
        return Estimate(share, None, None, n)
    if share in (0.0, 1.0):
        return Estimate(share, *wilson(share * groups, groups), n)
    parts = (used[:, 0] - share * used[:, 1]) / total
    variance = float((parts**2).sum()) * groups / (groups - 1)
    shrink = (Z / float(scipy.special.stdtrit(groups - 1, (1 + LEVEL) / 2))) ** 2
    left = min(total, share * (1 - share) / max(variance, 1e-12)) * shrink
    return Estimate(share, *wilson(share * left, left), n)


def group_numbers(groups: Sequence[Hashable]) -> NDArray[np.intp]:
    """Number the group of each row from 0 on, in order of appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(g, len(numbers)) for g in groups], dtype=np.intp)


def order_consistency(verdicts: Sequence[Verdict]) -> Estimate:
    """Estimate how often a pairwise judge chose the same answer in both orders.

    A judge that follows the position instead of the answers scores 0, one that is always sure of
    an answer scores 1, and a coin in each order scores 1/2 (PRISM, verification stage).
    """
    return rate_of([verdict.is_consistent for verdict in verdicts])
