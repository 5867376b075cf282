"""Correlations with intervals on Fisher's z scale.

z = atanh(r) is nearly normal with standard error 1 / sqrt(n - 3) for Pearson's r, and
sqrt((1 + rho^2 / 2) / (n - 3)) for Spearman's rho (Bonett & Wright 2000). A constant column or
fewer than 3 points have no correlation; 3 points, or a perfect one, have no interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy

from prism_core.stats.checks import LEVEL, FloatArray, finite_array, same_length, undefined
from prism_core.types import Estimate


def pearson(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Estimate Pearson's r, the strength of a linear relation; each row is an independent item."""
    first, second = _columns(x, y)
    if _undefined(first, second):
        return undefined(len(first))
    return _fisher(float(scipy.stats.pearsonr(first, second).statistic), len(first), 1.0)


def spearman(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Estimate Spearman's rho, Pearson's r of the ranks; each row is an independent item."""
    first, second = _columns(x, y)
    if _undefined(first, second):
        return undefined(len(first))
    rho = float(scipy.stats.spearmanr(first, second).statistic)
    return _fisher(rho, len(first), 1 + rho**2 / 2)


def _columns(x: Sequence[float], y: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    first, second = finite_array(x, "x"), finite_array(y, "y")
    same_length("x", len(first), "y", len(second))
    return first, second


def _undefined(first: FloatArray, second: FloatArray) -> bool:
    return len(first) < 3 or any(
        np.ptp(column) <= 1e-12 * max(1.0, float(np.abs(column).max()))
        for column in (first, second)
    )


def _fisher(r: float, n: int, variance_factor: float) -> Estimate:
    if n < 4 or abs(r) > 1 - 1e-12:
        return Estimate(r, None, None, n)
    z = math.atanh(r)
    half = float(scipy.stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt(variance_factor / (n - 3))
    return Estimate(r, math.tanh(z - half), math.tanh(z + half), n)
