"""A win rate at equal length: what is left of a preference once longer answers gain nothing.

Judges like long answers, so a persona that talks more wins more. As in length-controlled
AlpacaEval (Dubois et al. 2024), the preference is modelled with the difference in length, here
p = a + b * tanh(d / s) with d the difference in words and s its standard deviation, by least
squares; `a` is the win rate at equal length and `b` the verbosity bias. Intervals come from a
seeded percentile bootstrap over items, so average repeats inside their item first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prism_core.stats.checks import (
    RESAMPLES,
    FloatArray,
    central_range,
    finite_array,
    same_length,
    undefined,
)
from prism_core.stats.means import Bounds
from prism_core.types import Estimate

_FEWEST = 5


@dataclass(frozen=True)
class LengthControl:
    """A preference with the effect of length taken out."""

    win_rate: Estimate
    bias: Estimate
    """How much an answer that is far longer gains; 0 where length does not matter."""


def length_controlled(
    preferences: Sequence[float], length_differences: Sequence[float]
) -> LengthControl:
    """Estimate the win rate at equal length, one row an independent item.

    Args:
        preferences: How far the arm's answer was preferred to its rival's, 0..1, length n.
        length_differences: The arm's words minus its rival's, length n.

    Returns:
        Both numbers; undefined below 5 items, or where all differences in length are alike.
    """
    wins = finite_array(preferences, "preferences")
    gaps = finite_array(length_differences, "length_differences")
    same_length("preferences", len(wins), "length_differences", len(gaps))
    n = len(wins)
    spread = float(gaps.std()) if n else 0.0
    if n < _FEWEST or spread <= 1e-12:
        return LengthControl(undefined(n), undefined(n))
    pulls = np.tanh(gaps / spread)
    start, slope = _fit(wins[None, :], pulls[None, :])
    drawn = np.random.default_rng(0).integers(0, n, size=(RESAMPLES, n))
    starts, slopes = _fit(wins[drawn], pulls[drawn])
    return LengthControl(
        _estimate(float(start[0]), starts, n, (0.0, 1.0)),
        _estimate(float(slope[0]), slopes, n, None),
    )


def _fit(wins: FloatArray, pulls: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit every row by least squares: intercepts and slopes, shape (rows,); NaN without spread."""
    mean_w, mean_p = wins.mean(axis=1), pulls.mean(axis=1)
    centred = pulls - mean_p[:, None]
    with np.errstate(all="ignore"):
        slope = (centred * wins).sum(axis=1) / (centred**2).sum(axis=1)
    return mean_w - slope * mean_p, slope


def _estimate(value: float, drawn: FloatArray, n: int, bounds: Bounds | None) -> Estimate:
    usable = drawn[np.isfinite(drawn)]
    if not usable.size:
        return Estimate(value, None, None, n)
    low, high = central_range(usable)
    if bounds is not None:
        value = min(max(value, bounds[0]), bounds[1])
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Estimate(value, low, high, n)
