"""Expected best of k: what one would get by trying k of n personas and keeping the best.

With the n values in rising order, the i-th is the best of a random k-subset with probability
C(i-1, k-1) / C(n, k), so the expected best is sum_i C(i-1, k-1) / C(n, k) * x_i: the exact mean
over all subsets, unbiased for k fresh draws (as pass@k is). Its interval is the jackknife's, for a
U-statistic, and a little narrow: at 95 % it held the truth in 90 % of 800 trials for the best of 3
of 12 normal values, in 83 % for 8 of 12. Values that are themselves noisy make the best look better
than it is: choose on some items and measure on others before promising it to anyone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy

from prism_core.errors import StatisticsError
from prism_core.stats.checks import FloatArray, at_least, finite_array
from prism_core.types import Estimate


def expected_best_of(values: Sequence[float], k: int) -> Estimate:
    """Estimate the expected best of `k` draws from n observed values, such as personas' accuracies.

    There is no interval where k = n (nothing is left to leave out) or where all values are alike.

    Raises:
        StatisticsError: `k` is above n: the best of more than were seen is not defined.
    """
    at_least(k, 1, "k")
    ordered = np.sort(finite_array(values, "values"))
    n = len(ordered)
    if k > n:
        raise StatisticsError(f"the best of {k} cannot be estimated from {n} values")
    value = float(_weights(n, k) @ ordered)
    if k == n or np.ptp(ordered) == 0:
        return Estimate(value, None, None, n)
    weights = _weights(n - 1, k)
    left_out = np.array([weights @ np.delete(ordered, i) for i in range(n)])
    error = math.sqrt((n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()))
    half = float(scipy.stats.t.ppf(0.975, n - 1)) * error
    return Estimate(value, value - half, value + half, n)


def _weights(n: int, k: int) -> FloatArray:
    """Return P(the i-th smallest of n is the largest of a random k-subset), shape (n,)."""
    total = math.comb(n, k)
    return np.array([math.comb(i - 1, k - 1) / total for i in range(1, n + 1)], dtype=np.float64)
