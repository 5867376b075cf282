"""Tests of "no difference" between two arms on the same items, and Holm's correction.

McNemar for one right/wrong answer an item (exact: the discordant items are coin flips under the
null); Wilcoxon's signed ranks or a sign-flip permutation of the mean for scores and for averaged
repeats. All two-sided. Where no item differs, p is 1: the data say nothing against the null. With
no items p is None. A large p is never evidence of equality: see `noninferiority`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from prism_core.errors import InputError
from prism_core.stats.checks import FloatArray, at_least, binary_array
from prism_core.stats.samples import Pairs

Method = Literal["exact McNemar", "Wilcoxon signed-rank", "paired permutation"]


@dataclass(frozen=True)
class PairedTest:
    """The outcome of a two-sided test on paired items."""

    method: Method
    """Which test it is."""
    p_value: float | None
    """Probability of a difference at least this large under no difference; None without items."""
    n: int
    """Items compared."""
    better: int
    """Items on which the treated arm scores higher."""
    worse: int
    """Items on which the treated arm scores lower."""


def mcnemar(pairs: Pairs) -> PairedTest:
    """Test right/wrong pairs exactly: `better` ~ Binomial(better + worse, 1/2) under the null.

    Raises:
        InputError: A score is not 0 or 1 (for instance averaged repeats).
    """
    treated = binary_array(pairs.treatment, "treatment")
    control = binary_array(pairs.control, "control")
    better, worse = int((treated & ~control).sum()), int((~treated & control).sum())
    p_value: float | None = None
    if pairs.n:
        discordant = better + worse
        p_value = float(stats.binomtest(better, discordant).pvalue) if discordant else 1.0
    return PairedTest("exact McNemar", p_value, pairs.n, better, worse)


def wilcoxon(pairs: Pairs) -> PairedTest:
    """Test scores by Wilcoxon's signed ranks; items without a difference are dropped (Wilcoxon).

    Exact where scipy can be, the normal approximation otherwise.
    """
    differences = _rounded(pairs)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    p_value: float | None = None
    if pairs.n:
        nonzero = differences[differences != 0]
        p_value = float(stats.wilcoxon(nonzero).pvalue) if nonzero.size else 1.0
    return PairedTest("Wilcoxon signed-rank", p_value, pairs.n, better, worse)


def permutation(pairs: Pairs, *, seed: int = 0, resamples: int = 9_999) -> PairedTest:
    """Test the mean difference by flipping the signs of the items' differences.

    Exact where 2^n is at most `resamples`, seeded random flips otherwise (the observed one counts
    too, so p is never below 1 / (resamples + 1)).
    """
    at_least(resamples, 100, "resamples")
    differences = _rounded(pairs)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    p_value: float | None = None
    if pairs.n:
        # Items without a difference do not move under a flip, so they need no permuting.
        nonzero = differences[differences != 0]
        p_value = _sign_flip_p(nonzero, seed, resamples) if nonzero.size else 1.0
    return PairedTest("paired permutation", p_value, pairs.n, better, worse)


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust a grid's p-values so that the chance of any false alarm stays at the level (Holm).

    The i-th smallest of m is multiplied by m - i + 1, made non-decreasing and capped at 1. Tests
    that could not be made (None) stay None and do not count.

    Raises:
        InputError: A p-value is outside 0..1.
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


def _rounded(pairs: Pairs) -> FloatArray:
    # Means of repeats differ by rounding (0.1 + 0.2 - 0.3); that must not count as a sign.
    return np.round(pairs.differences, 12) + 0.0


def _sign_flip_p(differences: FloatArray, seed: int, resamples: int) -> float:
    if len(differences) == 1:
        return 1.0  # both flips are equally far from 0, and scipy wants two items
    result = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        _mean_gap,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // len(differences)),
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _mean_gap(first: FloatArray, second: FloatArray, axis: int) -> FloatArray:
    return np.asarray((first - second).mean(axis=axis))
