"""Tests of "no difference" between two arms on the same items, Holm's correction, and "no worse".

The test of a pair of arms is the one that its interval (`means.py`) belongs to:
1. All changes are of one size, as with right and wrong: exact McNemar. Under the null each change
   is a coin flip, so `better` ~ Binomial(better + worse, 1/2).
2. At most 13 items change: all flips of their signs, exactly.
3. At most half of the items change: the flips' normal limit, sum(d) / sqrt(sum(d^2)).
4. Otherwise Student's t.
All give a two-sided p: the probability of a difference at least as large under no difference. Where
no item differs p is 1: the data say nothing against the null. Without items p is None.

A large p is never evidence of equality, so "no worse than neutral by more than delta" looks at the
whole interval. With the 95 % two-sided one it is a one-sided test at 2.5 %, the usual choice:
low > -delta: non-inferior; high < -delta: inferior; anything else: inconclusive. Choose delta
before the data are seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
import scipy
from scipy.special import ndtr, stdtr

from prism_core.errors import InputError
from prism_core.stats.checks import FloatArray, positive
from prism_core.stats.means import is_sparse
from prism_core.stats.samples import Pairs
from prism_core.types import Estimate

ALPHA = 0.05
"""A two-sided p below this is called an effect."""
MINIMUM_ITEMS = 20
"""Below this many items the app shows numbers but gives no verdict."""
NonInferiorityVerdict = Literal["non-inferior", "inferior", "inconclusive", "too few items"]
_FEW_CHANGED = 13


@lru_cache(maxsize=4_096)
def paired_p(pairs: Pairs) -> float | None:
    """Test whether two arms differ, see the module header; None without items."""
    if not pairs.n:
        return None
    # Means of repeats differ by rounding (0.1 + 0.2 - 0.3); that must not count as a change.
    differences = np.round(pairs.differences, 12)
    changed = differences[differences != 0]
    if not changed.size:
        return 1.0
    if np.ptp(np.abs(changed)) == 0:
        better = int((changed > 0).sum())
        return sign_p(better, int(changed.size) - better)
    if changed.size <= _FEW_CHANGED:
        return _all_flips(changed)
    if is_sparse(differences):
        return float(2 * ndtr(-abs(changed.sum()) / math.sqrt((changed**2).sum())))
    n = len(differences)
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(n))
    return float(2 * stdtr(n - 1, -abs(t)))


def sign_p(better: int, worse: int) -> float:
    """Return the exact two-sided p of McNemar's test; 1 where nothing changed."""
    return float(min(1.0, 2 * scipy.stats.binom.cdf(min(better, worse), better + worse, 0.5)))


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust a grid's p-values so that the chance of any false alarm stays at the level (Holm).

    The i-th smallest of m is multiplied by m - i + 1, made non-decreasing and capped at 1. Tests
    that could not be made (None) stay None and do not count.
    """
    known = [(p, index) for index, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(sorted(known)):
        if not 0 <= p <= 1:
            raise InputError(f"p_values[{index}] is {p}; a p-value is between 0 and 1")
        running = max(running, min(1.0, p * (len(known) - rank)))
        adjusted[index] = running
    return tuple(adjusted)


def noninferiority(difference: Estimate, delta: float) -> NonInferiorityVerdict:
    """Judge a paired difference against `delta`, the largest acceptable loss in the score's units.

    The difference is treatment minus control; negate it first where a lower score is better.
    """
    positive(delta, "delta")
    if difference.n < MINIMUM_ITEMS:
        return "too few items"
    if difference.low is not None and difference.low > -delta:
        return "non-inferior"
    if difference.high is not None and difference.high < -delta:
        return "inferior"
    return "inconclusive"


def _all_flips(changed: FloatArray) -> float:
    """Return the share of sign flips whose sum is at least as far from 0 as the one seen."""
    sums = np.abs(_signs(len(changed)) @ changed)
    return float((sums >= abs(changed.sum()) - 1e-12).mean())


@lru_cache(maxsize=_FEW_CHANGED)
def _signs(count: int) -> FloatArray:
    """Return all choices of `count` signs, shape (2 ** count, count)."""
    return np.array(list(product((-1.0, 1.0), repeat=count)))
