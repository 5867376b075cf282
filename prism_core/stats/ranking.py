"""How well probabilities rank: ROC and precision-recall curves and the areas under them.

ROC-AUC is the chance that a positive row outranks a negative one, ties counting half; its interval
is DeLong's (1988) on the logit scale, so it stays inside 0..1. Where rows share a topic, DeLong's
parts are summed within each topic first (Obuchowski 1997), and Student's t of one less than there
are topics takes the place of the normal: a bootstrap of topics held the truth less often
(`tests/stats/test_groups.py`). At an AUC of exactly 0 or 1 the variance vanishes; then Wilson's
interval on min(positives, negatives) disjoint pairs (no more than there are topics), each of which
is a fair trial of the AUC, is used instead: honest, if wide. Average precision (the sum of
precision times the step in recall, as in scikit-learn) has the standard error of a seeded bootstrap
of rows, or of topics, on the logit scale. A row counts as positive where score >= threshold.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
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
    finite_array,
    same_length,
    undefined,
)
from prism_core.stats.proportions import Z
from prism_core.stats.rates import group_numbers, rate
from prism_core.types import Estimate

_RESAMPLES = 1_000
Groups = Sequence[Hashable]


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


def roc_auc(
    labels: Sequence[bool], scores: Sequence[float], *, groups: Groups | None = None
) -> Estimate:
    """Estimate the area under the ROC curve; `groups` name each row's topic.

    Returns:
        The estimate; undefined where there is no positive or no negative row, without an interval
        where all rows share one topic.
    """
    positive, values = _rows(labels, scores)
    where = _topics(groups, len(values))
    n, wins, losses = len(values), int(positive.sum()), int((~positive).sum())
    if not (wins and losses):
        return undefined(n)
    above, below = _placements(positive, values)
    auc, count = float(above.mean()), int(where.max()) + 1
    if auc in (0.0, 1.0) and count > 1:
        pairs = min(wins, losses, count)
        trial = rate(round(auc * pairs), pairs)
        return Estimate(auc, trial.low, trial.high, n)
    if wins < 2 or losses < 2 or count < 2:
        return Estimate(auc, None, None, n)
    if count == n:
        variance = float(above.var(ddof=1) / wins + below.var(ddof=1) / losses)
        return Estimate(auc, *_logit_interval(auc, math.sqrt(variance), Z), n)
    parts = np.zeros(n)
    parts[positive], parts[~positive] = (above - auc) / wins, (below - auc) / losses
    variance = float((np.bincount(where, parts) ** 2).sum()) * count / (count - 1)
    return Estimate(auc, *_logit_interval(auc, math.sqrt(variance), _t(count)), n)


def average_precision(
    labels: Sequence[bool], scores: Sequence[float], *, groups: Groups | None = None, seed: int = 0
) -> Estimate:
    """Estimate the average precision; `groups` name each row's topic.

    Returns:
        The estimate; undefined where there is no positive or no negative row, without an interval
        below 10 rows of either class or where ranking is perfect, since resampling sees no spread.
    """
    positive, values = _rows(labels, scores)
    where = _topics(groups, len(values))
    n, wins = len(values), int(positive.sum())
    if not 0 < wins < n:
        return undefined(n)
    order, ends = _falling(values)
    positive, where, count = positive[order], where[order], int(where.max()) + 1
    value = float(_average_precision(positive[None, :], ~positive[None, :], ends)[0])
    if min(wins, n - wins) < 10 or value > 1 - 1e-12 or count < 2:
        return Estimate(value, None, None, n)
    drawn = _resampled_ap(positive, where, ends, np.random.default_rng(seed))
    log_odds = scipy.special.logit(np.clip(drawn, 1e-3, 1 - 1e-3))
    error = float(log_odds.std(ddof=1)) * value * (1 - value)
    return Estimate(value, *_logit_interval(value, error, _t(count)), n)


def _rows(labels: Sequence[bool], scores: Sequence[float]) -> tuple[BoolArray, FloatArray]:
    positive, values = binary_array(labels, "labels"), finite_array(scores, "scores")
    same_length("labels", len(positive), "scores", len(values))
    return positive, values


def _topics(groups: Groups | None, n: int) -> NDArray[np.intp]:
    if groups is None:
        return np.arange(n)
    same_length("scores", n, "groups", len(groups))
    return group_numbers(groups)


def _t(groups: int) -> float:
    return float(scipy.special.stdtrit(groups - 1, (1 + LEVEL) / 2))


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
    order, ends = _falling(values)
    positive, values = positive[order], values[order]
    hits = np.cumsum(positive, dtype=np.float64)[ends]
    alarms = np.cumsum(~positive, dtype=np.float64)[ends]
    return values[ends], hits, alarms


def _falling(values: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the falling order of scores, and the last place of each run of equal ones."""
    order = np.argsort(-values, kind="stable")
    return order, np.flatnonzero(np.append(np.diff(values[order]) != 0, True))


def _placements(positive: BoolArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return DeLong's V10 and V01 (by mid-ranks): the share of the other class below each row."""
    wins, losses = values[positive], values[~positive]
    ranks = scipy.stats.rankdata(values)
    above = (ranks[positive] - scipy.stats.rankdata(wins)) / len(losses)
    below = 1 - (ranks[~positive] - scipy.stats.rankdata(losses)) / len(wins)
    return np.asarray(above, np.float64), np.asarray(below, np.float64)


def _logit_interval(
    value: float, error: float, quantile: float
) -> tuple[float | None, float | None]:
    if error <= 0 or not 0 < value < 1:
        return None, None
    center = math.log(value / (1 - value))
    half = quantile * error / (value * (1 - value))
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
    positive: BoolArray, where: NDArray[np.intp], ends: NDArray[np.intp], rng: np.random.Generator
) -> FloatArray:
    """Return the average precision of samples that draw topics, as counts of each row."""
    count = int(where.max()) + 1
    batch = max(1, 2_000_000 // len(positive))
    parts = []
    for start in range(0, _RESAMPLES, batch):
        size = min(batch, _RESAMPLES - start)
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=size)[:, where]
        drawn = drawn[drawn[:, positive].any(axis=1)]  # without a win it is not defined
        parts.append(_average_precision(drawn * positive, drawn * ~positive, ends))
    return np.concatenate(parts)
