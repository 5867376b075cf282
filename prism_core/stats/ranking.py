"""How well probabilities rank: ROC and precision-recall curves and the areas under them.

ROC-AUC is the chance that a positive row outranks a negative one, ties counting half; its interval
is DeLong's (1988) on the logit scale, so it stays inside 0..1. At an AUC of exactly 0 or 1 DeLong's
variance vanishes; then Wilson's interval on min(positives, negatives) disjoint pairs, each of
which is a fair trial of the AUC, is used instead: honest, if wide. Average precision (the sum of
precision times the step in recall, as in scikit-learn) has a seeded bootstrap interval that
resamples positives and negatives separately. A row counts as positive where score >= threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from prism_core.errors import StatisticsError
from prism_core.stats.checks import (
    LEVEL,
    BoolArray,
    FloatArray,
    binary_array,
    central_range,
    finite_array,
    same_length,
    undefined,
)
from prism_core.stats.rates import rate
from prism_core.types import Estimate

_RESAMPLES = 1_000


@dataclass(frozen=True)
class RocCurve:
    """True against false positive rate as the threshold falls; starts at (0, 0)."""

    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]
    thresholds: tuple[float, ...]
    """The threshold of each point; the first, infinity, lets no row through."""


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision against recall as the threshold falls."""

    recall: tuple[float, ...]
    precision: tuple[float, ...]
    thresholds: tuple[float, ...]


def roc_curve(labels: Sequence[bool], scores: Sequence[float]) -> RocCurve:
    """Return one point for each distinct score, after (0, 0).

    Raises:
        StatisticsError: There is no positive or no negative row.
    """
    thresholds, hits, alarms = _counts(labels, scores)
    return RocCurve(
        (0.0, *(alarms / alarms[-1]).tolist()),
        (0.0, *(hits / hits[-1]).tolist()),
        (math.inf, *thresholds.tolist()),
    )


def precision_recall_curve(labels: Sequence[bool], scores: Sequence[float]) -> PrecisionRecallCurve:
    """Return one point for each distinct score.

    Raises:
        StatisticsError: There is no positive or no negative row.
    """
    thresholds, hits, alarms = _counts(labels, scores)
    return PrecisionRecallCurve(
        tuple((hits / hits[-1]).tolist()),
        tuple((hits / (hits + alarms)).tolist()),
        tuple(thresholds.tolist()),
    )


def roc_auc(labels: Sequence[bool], scores: Sequence[float]) -> Estimate:
    """Estimate the area under the ROC curve with DeLong's interval (see the module header).

    Returns:
        The estimate; undefined where there is no positive or no negative row.
    """
    positive, values = _rows(labels, scores)
    n, wins, losses = len(values), int(positive.sum()), int((~positive).sum())
    if not (wins and losses):
        return undefined(n)
    above, below = _placements(positive, values)
    auc = float(above.mean())
    if auc in (0.0, 1.0):
        pairs = min(wins, losses)
        trial = rate(round(auc * pairs), pairs)
        return Estimate(auc, trial.low, trial.high, n)
    if wins < 2 or losses < 2:
        return Estimate(auc, None, None, n)
    variance = float(above.var(ddof=1) / wins + below.var(ddof=1) / losses)
    return Estimate(auc, *_logit_interval(auc, variance), n)


def average_precision(
    labels: Sequence[bool], scores: Sequence[float], *, seed: int = 0
) -> Estimate:
    """Estimate the average precision with a stratified percentile bootstrap interval.

    Returns:
        The estimate; undefined where there is no positive or no negative row, without an interval
        below 10 rows of either class or where ranking is perfect, since resampling sees no spread.
    """
    positive, values = _rows(labels, scores)
    n, wins = len(values), int(positive.sum())
    if not 0 < wins < n:
        return undefined(n)
    positive, _, ends = _falling(positive, values)
    value = float(_average_precision(positive[None, :], ~positive[None, :], ends)[0])
    if min(wins, n - wins) < 10 or value > 1 - 1e-12:
        return Estimate(value, None, None, n)
    draws = _resampled_ap(positive, ends, np.random.default_rng(seed))
    return Estimate(value, *central_range(draws), n)


def _rows(labels: Sequence[bool], scores: Sequence[float]) -> tuple[BoolArray, FloatArray]:
    positive, values = binary_array(labels, "labels"), finite_array(scores, "scores")
    same_length("labels", len(positive), "scores", len(values))
    return positive, values


def _counts(
    labels: Sequence[bool], scores: Sequence[float]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the distinct thresholds, falling, with the true and false positives at each."""
    positive, values = _rows(labels, scores)
    if positive.all() or not positive.any():
        raise StatisticsError(
            f"{int(positive.sum())} of {len(positive)} rows are positive; "
            "a curve needs at least one positive and one negative row"
        )
    positive, values, ends = _falling(positive, values)
    hits = np.cumsum(positive, dtype=np.float64)[ends]
    alarms = np.cumsum(~positive, dtype=np.float64)[ends]
    return values[ends], hits, alarms


def _falling(
    positive: BoolArray, values: FloatArray
) -> tuple[BoolArray, FloatArray, NDArray[np.intp]]:
    """Return the rows in falling order of score, and the last place of each run of equal ones."""
    order = np.argsort(-values, kind="stable")
    positive, values = positive[order], values[order]
    return positive, values, np.flatnonzero(np.append(np.diff(values) != 0, True))


def _placements(positive: BoolArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return DeLong's V10 and V01 (by mid-ranks): the share of the other class below each row."""
    wins, losses = values[positive], values[~positive]
    ranks = scipy.stats.rankdata(values)
    above = (ranks[positive] - scipy.stats.rankdata(wins)) / len(losses)
    below = 1 - (ranks[~positive] - scipy.stats.rankdata(losses)) / len(wins)
    return np.asarray(above, np.float64), np.asarray(below, np.float64)


def _logit_interval(auc: float, variance: float) -> tuple[float | None, float | None]:
    if variance <= 0 or not 0 < auc < 1:
        return None, None
    center = math.log(auc / (1 - auc))
    half = float(scipy.stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt(variance) / (auc * (1 - auc))
    return 1 / (1 + math.exp(half - center)), 1 / (1 + math.exp(-half - center))


def _average_precision(
    hits: NDArray[np.generic], alarms: NDArray[np.generic], ends: NDArray[np.intp]
) -> FloatArray:
    """Average the precision of rows (R, n) of counts in falling order; `ends` close ties."""
    true = np.cumsum(hits, axis=1, dtype=np.float64)[:, ends]
    false = np.cumsum(alarms, axis=1, dtype=np.float64)[:, ends]
    precision = true / np.maximum(true + false, 1)
    steps = np.diff(true, axis=1, prepend=0.0)
    return np.asarray((steps * precision).sum(axis=1) / true[:, -1])


def _resampled_ap(
    positive: BoolArray, ends: NDArray[np.intp], rng: np.random.Generator
) -> FloatArray:
    """Return the average precision of bootstrap samples, drawn as counts within each class."""
    wins, losses = positive / positive.sum(), ~positive / (~positive).sum()
    batch = max(1, 2_000_000 // len(positive))
    parts = []
    for start in range(0, _RESAMPLES, batch):
        size = min(batch, _RESAMPLES - start)
        hits = rng.multinomial(int(positive.sum()), wins, size=size)
        alarms = rng.multinomial(int((~positive).sum()), losses, size=size)
        parts.append(_average_precision(hits, alarms, ends))
    return np.concatenate(parts)
