"""Many means at once: the interval of `mean_of` for every cell of a figure, in one go.

A heatmap has hundreds of cells, and `scipy.stats.bootstrap` takes about ten milliseconds for each.
Cells with the same number of items share one seeded matrix of resampling weights (resamples x n),
so that all their bootstrap means are a single matrix product, and the BCa correction of a mean has
a closed-form jackknife. The rules of `bootstrap.py` (few items, many items, items all alike) hold
here too; the two agree but for the Monte-Carlo error of their different draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from prism_core.stats.bootstrap import (
    FEWEST_FOR_BOOTSTRAP,
    MOST_FOR_BOOTSTRAP,
    RESAMPLES,
    Bounds,
    mean_of,
    span_of,
)
from prism_core.stats.checks import LEVEL, FloatArray, finite_array
from prism_core.stats.samples import Pairs
from prism_core.types import Estimate

_AT_ONCE = 256
"""Cells in one matrix product: 2,000 resamples of so many are 4 MB."""
_SAME = 1e-12


def means_of(
    cells: Sequence[Sequence[float] | FloatArray], *, bounds: Bounds | None = None
) -> tuple[Estimate, ...]:
    """Estimate the mean of every cell; each holds one independent value for each item.

    The number of values may differ from cell to cell; for `bounds` see `mean_of`.
    """
    arrays = [finite_array(cell, f"cells[{i}]") for i, cell in enumerate(cells)]
    found: list[Estimate | None] = [None] * len(arrays)
    batches: dict[int, list[int]] = {}
    for i, array in enumerate(arrays):
        if _takes_bootstrap(array, bounds):
            batches.setdefault(array.size, []).append(i)
        else:
            found[i] = mean_of(array.tolist(), bounds=bounds)
    for n, places in batches.items():
        for start in range(0, len(places), _AT_ONCE):
            part = places[start : start + _AT_ONCE]
            values = np.stack([arrays[i] for i in part], axis=1)
            lows, highs = _intervals(values, _weights(n))
            for i, low, high in zip(part, lows, highs, strict=True):
                found[i] = _estimate(arrays[i], low, high, bounds)
    return tuple(one for one in found if one is not None)


def paired_differences(
    cells: Sequence[Pairs], *, bounds: Bounds | None = None
) -> tuple[Estimate, ...]:
    """Estimate treatment minus control of every cell, paired by item; see `paired_difference`."""
    return means_of([pairs.differences for pairs in cells], bounds=span_of(bounds))


def _takes_bootstrap(values: FloatArray, bounds: Bounds | None) -> bool:
    """Return whether values are many, few and varied enough; the rest is left to `mean_of`."""
    if not FEWEST_FOR_BOOTSTRAP <= values.size <= MOST_FOR_BOOTSTRAP:
        return False
    if bounds is not None and (values.min() < bounds[0] or values.max() > bounds[1]):
        return False  # mean_of says what is wrong
    return bool(np.ptp(values) > _SAME * max(1.0, float(np.abs(values).max())))


@lru_cache(maxsize=16)
def _weights(n: int) -> FloatArray:
    """Return how much each item counts in each resample, shape (RESAMPLES, n); rows sum to 1."""
    drawn = np.random.default_rng(0).integers(0, n, size=(RESAMPLES, n))
    flat = (drawn + np.arange(RESAMPLES)[:, None] * n).ravel()
    counts = np.bincount(flat, minlength=RESAMPLES * n).reshape(RESAMPLES, n)
    return np.asarray(counts / n, dtype=np.float64)


def _intervals(values: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the ends for each column of `values` (n, cells): BCa, or percentile if undefined."""
    n = len(values)
    means, tail = values.mean(axis=0), (1 - LEVEL) / 2
    drawn = weights @ values
    below = (drawn < means - _SAME).mean(axis=0)
    same = (np.abs(drawn - means) <= _SAME).mean(axis=0)
    with np.errstate(all="ignore"):
        bias = ndtri(below + same / 2)
        # Leaving item i out moves the mean by (mean - x_i) / (n - 1).
        influence = values - means
        skew = (influence**3).sum(axis=0) / n**3
        acceleration = skew / (6 * ((influence**2).sum(axis=0) / n**2) ** 1.5)
        ends = []
        for share in (tail, 1 - tail):
            shifted = bias + ndtri(share)
            ends.append(ndtr(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.where(np.isfinite(ends), ends, [[tail], [1 - tail]])
    ordered = np.sort(drawn, axis=0)
    return _quantile(ordered, low), _quantile(ordered, high)


def _quantile(ordered: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the linear quantile of each sorted column at a share of its own."""
    place = shares * (len(ordered) - 1)
    first = np.floor(place).astype(np.intp)
    after = np.minimum(first + 1, len(ordered) - 1)
    columns = np.arange(ordered.shape[1])
    part = place - first
    return np.asarray(ordered[first, columns] * (1 - part) + ordered[after, columns] * part)


def _estimate(values: FloatArray, low: float, high: float, bounds: Bounds | None) -> Estimate:
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Estimate(float(values.mean()), float(low), float(high), values.size)
