"""The interval of a mean over items: seeded BCa bootstrap, with its fallbacks written down.

1. All items alike: resampling cannot see any spread. If the score's `bounds` are known, unseen
   items may differ in at most a share u (Wilson's upper end for 0 of n), which moves the mean by
   at most u towards either bound; without bounds there is no interval.
2. Fewer than 20 items: Student's t. On 10 normal values a 95 % BCa interval held the truth in 89 %
   of 800 trials, Student's in 95 %; on 20 it was 94 %. One item has no interval.
3. More than 2,000 items: Student's t too. The mean is normal by then, and BCa costs O(n^2).
4. Otherwise `scipy.stats.bootstrap`, BCa; where BCa is not defined, its percentile interval.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from scipy import stats

from prism_core.errors import InputError
from prism_core.stats.checks import LEVEL, FloatArray, central_range, finite_array, undefined
from prism_core.stats.rates import rate
from prism_core.stats.samples import Pairs
from prism_core.types import Estimate

FEWEST_FOR_BOOTSTRAP = 20
MOST_FOR_BOOTSTRAP = 2_000
RESAMPLES = 2_000
_CELLS_AT_ONCE = 2_000_000

Bounds = tuple[float, float]
"""The lowest and the highest value that is possible."""


def mean_of(values: Sequence[float], *, bounds: Bounds | None = None, seed: int = 0) -> Estimate:
    """Estimate the mean of independent values, one for each item, shape (n,).

    `bounds`, e.g. (0, 1), clip the interval and give one where all values are alike.
    """
    array = finite_array(values, "values")
    _check_bounds(array, bounds)
    if array.size == 0:
        return undefined(0)
    mean = float(array.mean())
    low, high = _interval(array, bounds, seed)
    if low is not None and high is not None and bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Estimate(mean, low, high, int(array.size))


def paired_difference(pairs: Pairs, *, bounds: Bounds | None = None, seed: int = 0) -> Estimate:
    """Estimate treatment minus control, paired by item.

    `bounds` are those of a *score*, e.g. (0, 1); the difference is then within -1..1.
    """
    return mean_of(pairs.differences.tolist(), bounds=span_of(bounds), seed=seed)


def span_of(bounds: Bounds | None) -> Bounds | None:
    """Return the bounds of a difference of two scores that have these bounds."""
    return None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0])


def _check_bounds(values: FloatArray, bounds: Bounds | None) -> None:
    if bounds is None:
        return
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"bounds are {bounds}; the first must be below the second, both finite")
    if values.size and (values.min() < low or values.max() > high):
        raise InputError(
            f"values run from {values.min()} to {values.max()}, outside the bounds {bounds}"
        )


def _interval(
    values: FloatArray, bounds: Bounds | None, seed: int
) -> tuple[float | None, float | None]:
    # A relative tolerance: 0.1 + 0.2 - 0.3 is not spread, only rounding.
    scale = max(1.0, float(np.abs(values).max()))
    if np.ptp(values) <= 1e-12 * scale:
        return _alike_interval(float(values.mean()), len(values), bounds)
    if not FEWEST_FOR_BOOTSTRAP <= len(values) <= MOST_FOR_BOOTSTRAP:
        return _t_interval(values)
    return _bootstrap_interval(values, seed)


def _alike_interval(
    value: float, n: int, bounds: Bounds | None
) -> tuple[float | None, float | None]:
    unseen = rate(0, n).high
    if bounds is None or unseen is None:
        return None, None
    return value - unseen * (value - bounds[0]), value + unseen * (bounds[1] - value)


def _t_interval(values: FloatArray) -> tuple[float, float]:
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
    mean = float(values.mean())
    return mean - half, mean + half


def _bootstrap_interval(values: FloatArray, seed: int) -> tuple[float, float]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # scipy warns where BCa is undefined; the NaN check below is how we handle that.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            (values,),
            np.mean,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=LEVEL,
            method="BCa",
            batch=max(1, _CELLS_AT_ONCE // len(values)),
            rng=np.random.default_rng(seed),
        )
    low, high = (float(end) for end in result.confidence_interval)
    if math.isnan(low) or math.isnan(high):
        return central_range(result.bootstrap_distribution)
    return low, high
