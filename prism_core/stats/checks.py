"""The checks that every statistic makes before it computes.

A mistake should be named where it enters: a NaN that slips into a mean shows up three screens
later as an empty plot. All checks raise `InputError`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prism_core.errors import InputError
from prism_core.types import Estimate

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
LEVEL = 0.95
"""Coverage of every interval."""
RESAMPLES = 2_000
"""Bootstrap samples, where an interval needs them."""


def finite_array(values: Sequence[float] | FloatArray, name: str) -> FloatArray:
    """Return `values` as a float array of shape (n,)."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must hold numbers only: {error}") from error
    if array.ndim != 1:
        raise InputError(f"{name} must be a flat sequence, not of shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise InputError(
            f"{name}[{bad[0]}] is {array[bad[0]]}; leave out rows without a score before counting"
        )
    return array


def binary_array(values: Sequence[bool] | Sequence[int] | Sequence[float], name: str) -> BoolArray:
    """Return right/wrong values as a bool array of shape (n,)."""
    array = finite_array(values, name)
    bad = np.flatnonzero((array != 0) & (array != 1))
    if bad.size:
        raise InputError(f"{name}[{bad[0]}] is {array[bad[0]]}; only 0 (False) and 1 (True)")
    return array.astype(np.bool_)


def probability_array(values: Sequence[float], name: str) -> FloatArray:
    """Return probabilities as a float array of shape (n,)."""
    array = finite_array(values, name)
    bad = np.flatnonzero((array < 0) | (array > 1))
    if bad.size:
        raise InputError(f"{name}[{bad[0]}] is {array[bad[0]]}; a probability is between 0 and 1")
    return array


def same_length(name_a: str, a: int, name_b: str, b: int) -> None:
    """Refuse two sequences that should go together row by row but differ in length."""
    if a != b:
        raise InputError(f"{name_a} has {a} rows but {name_b} has {b}; they must match")


def at_least(value: int, minimum: int, name: str) -> None:
    """Refuse anything but a whole number of at least `minimum`."""
    if not isinstance(value, int | np.integer) or value < minimum:
        raise InputError(f"{name} is {value!r}; it must be a whole number of at least {minimum}")


def positive(value: float, name: str) -> None:
    """Refuse anything but a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value!r}; it must be a finite number above 0")


def undefined(n: int) -> Estimate:
    """Return the estimate of something that the data cannot define."""
    return Estimate(None, None, None, n)


def central_range(draws: FloatArray) -> tuple[float, float]:
    """Return the ends between which the central 95 % of resampled values lie."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
