"""Calibration: do probabilities mean what they say?

Rows are put into bins of equal width; a bin's observed rate has Wilson's interval. The expected
calibration error is the mean gap between a bin's observed rate and its mean probability, weighted
by rows. It is above 0 even for perfect probabilities, only from chance, so a bootstrap interval
would mislead; instead it comes with what perfect probabilities would show on these very rows
(labels drawn from them, seeded). The Brier score is the mean squared error of the probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prism_core.stats.checks import (
    BoolArray,
    FloatArray,
    at_least,
    binary_array,
    central_range,
    probability_array,
    same_length,
    undefined,
)
from prism_core.stats.means import mean_of
from prism_core.stats.rates import rate
from prism_core.types import Estimate

_DRAWS = 1_000
"""Sets of labels drawn from the probabilities."""


@dataclass(frozen=True)
class CalibrationBin:
    """Rows whose probability lies in one bin."""

    lower: float
    """Lower edge, inside the bin."""
    upper: float
    """Upper edge, outside the bin except for the last one."""
    mean_probability: float
    observed: Estimate


@dataclass(frozen=True)
class Calibration:
    """How probabilities compare with what happened."""

    bins: tuple[CalibrationBin, ...]
    """The bins that hold rows, in rising order."""
    error: Estimate
    """Expected calibration error, without an interval (see the module header)."""
    error_by_chance: Estimate
    """What perfect probabilities would show on these rows: mean and central range."""
    brier: Estimate


def calibration(
    labels: Sequence[bool], probabilities: Sequence[float], *, bins: int = 10, seed: int = 0
) -> Calibration:
    """Compare probabilities with outcomes; each row is an independent item.

    Args:
        labels: Whether each row turned out positive, length n.
        probabilities: The probability each row was given, length n.
        bins: Bins of equal width between 0 and 1.
        seed: Seed of the drawn labels.
    """
    at_least(bins, 1, "bins")
    positive = binary_array(labels, "labels")
    given = probability_array(probabilities, "probabilities")
    same_length("labels", len(positive), "probabilities", len(given))
    n = len(given)
    if n == 0:
        return Calibration((), undefined(0), undefined(0), undefined(0))
    where = np.minimum((given * bins).astype(np.intp), bins - 1)
    error = float(_errors(positive[None, :], given, where, bins)[0])
    chance = _errors_by_chance(given, where, bins, np.random.default_rng(seed))
    return Calibration(
        _filled_bins(positive, given, where, bins),
        Estimate(error, None, None, n),
        Estimate(float(chance.mean()), *central_range(chance), n),
        mean_of((given - positive) ** 2, bounds=(0.0, 1.0)),
    )


def _filled_bins(
    positive: BoolArray, given: FloatArray, where: NDArray[np.intp], bins: int
) -> tuple[CalibrationBin, ...]:
    filled = []
    for index in np.unique(where).tolist():
        rows = where == index
        observed = rate(int(positive[rows].sum()), int(rows.sum()))
        mean = float(given[rows].mean())
        filled.append(CalibrationBin(index / bins, (index + 1) / bins, mean, observed))
    return tuple(filled)


def _errors(
    positive: BoolArray, given: FloatArray, where: NDArray[np.intp], bins: int
) -> FloatArray:
    """Return the calibration error of each row of labels, shape (R, n) -> (R,)."""
    # sum over bins of n_b / n * |rate_b - mean_b| = sum over bins of |sum_b (label - given)| / n
    members = (where[:, None] == np.arange(bins)[None, :]).astype(np.float64)
    return np.asarray(np.abs((positive - given) @ members).sum(axis=1) / len(given))


def _errors_by_chance(
    given: FloatArray, where: NDArray[np.intp], bins: int, rng: np.random.Generator
) -> FloatArray:
    batch = max(1, 2_000_000 // len(given))
    parts = []
    for start in range(0, _DRAWS, batch):
        size = min(batch, _DRAWS - start)
        drawn = rng.random((size, len(given))) < given
        parts.append(_errors(drawn, given, where, bins))
    return np.concatenate(parts)
