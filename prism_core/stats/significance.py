"""Tests of "no difference" between two arms on the same items, Holm's correction, and "no worse".

McNemar for one right/wrong answer an item (exact: the discordant items are coin flips under the
null); Wilcoxon's signed ranks or a sign-flip permutation of the mean for scores and for averaged
repeats. All return a two-sided p: the probability of a difference at least as large under no
difference. Where no item differs, p is 1: the data say nothing against the null. Without items p is
None.

A large p is never evidence of equality, so "no worse than neutral by more than delta" looks at the
whole interval. With the 95 % two-sided one it is a one-sided test at 2.5 %, the usual choice:
low > -delta: non-inferior; high < -delta: inferior; anything else: inconclusive. Choose delta
before the data are seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from prism_core.errors import InputError
from prism_core.stats.checks import FloatArray, binary_array, positive
from prism_core.stats.samples import Pairs
from prism_core.types import Estimate

MINIMUM_ITEMS = 20
"""Below this many items the app shows numbers but gives no verdict."""
NonInferiorityVerdict = Literal["non-inferior", "inferior", "inconclusive", "too few items"]
_FLIPS = 9_999


def mcnemar(pairs: Pairs) -> float | None:
    """Test right/wrong pairs exactly: `better` ~ Binomial(better + worse, 1/2) under the null.

    Raises:
        InputError: A score is not 0 or 1 (for instance averaged repeats).
    """
    treated = binary_array(pairs.treatment, "treatment")
    control = binary_array(pairs.control, "control")
    better, worse = int((treated & ~control).sum()), int((~treated & control).sum())
    if not pairs.n:
        return None
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def wilcoxon(pairs: Pairs) -> float | None:
    """Test scores by Wilcoxon's signed ranks; items without a difference are dropped (Wilcoxon).

    Exact where scipy can be, the normal approximation otherwise.
    """
    if not pairs.n:
        return None
    changed = _changed(pairs)
    return float(stats.wilcoxon(changed).pvalue) if changed.size else 1.0


def permutation(pairs: Pairs, *, seed: int = 0) -> float | None:
    """Test the mean difference by flipping the signs of the items' differences.

    Exact where 2^n is at most 9,999, seeded random flips otherwise (the observed one counts too, so
    p is never below 1 / 10,000).
    """
    if not pairs.n:
        return None
    changed = _changed(pairs)  # the others do not move under a flip
    if changed.size < 2:
        return 1.0  # both flips of one item are equally far from 0, and scipy wants two items
    result = stats.permutation_test(
        (changed, np.zeros_like(changed)),
        _mean_gap,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_FLIPS,
        batch=max(1, 2_000_000 // len(changed)),
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


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


def _changed(pairs: Pairs) -> FloatArray:
    """Return the differences that are not 0."""
    # Means of repeats differ by rounding (0.1 + 0.2 - 0.3); that must not count as a sign.
    differences = np.round(pairs.differences, 12) + 0.0
    return differences[differences != 0]


def _mean_gap(first: FloatArray, second: FloatArray, axis: int) -> FloatArray:
    return np.asarray((first - second).mean(axis=axis))
