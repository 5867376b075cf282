"""How good a gate's yes/no decisions are: confusion, best threshold, regret against the oracle.

A gate opens where probability >= threshold. Youden's J = sensitivity + specificity - 1 and balanced
accuracy = (sensitivity + specificity) / 2 have the same best threshold, so there is one search;
ties go to the threshold nearest to 1/2, the paper's. The threshold flatters itself on the rows it
was chosen on: choose on one held-out part and report on another. The oracle opens exactly where
the persona's answer scored higher; regret is the score lost against it, item by item.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prism_core.errors import InputError, StatisticsError
from prism_core.stats.checks import (
    LEVEL,
    BoolArray,
    binary_array,
    finite_array,
    probability_array,
    same_length,
)
from prism_core.stats.means import Bounds, mean_of
from prism_core.stats.rates import group_numbers, grouped_rate, rate
from prism_core.stats.samples import Pairs
from prism_core.types import Estimate


@dataclass(frozen=True)
class Confusion:
    """Counts of a yes/no decision against the truth."""

    true_positive: int
    """Opened where it helps."""
    false_positive: int
    false_negative: int
    """Closed where it would help."""
    true_negative: int
    level: float = LEVEL
    by_group: tuple[tuple[int, int, int, int], ...] = ()
    """The same four counts for each topic where rows share one; empty where rows are independent.
    The rates' intervals are then those of topics."""

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.true_positive + self.false_positive + self.false_negative + self.true_negative

    @property
    def precision(self) -> Estimate:
        """Share of the opened rows where it helps; undefined if none opened."""
        return self._rate((0,), (0, 1))

    @property
    def recall(self) -> Estimate:
        """Share of the helpful rows that were opened (sensitivity); undefined without any."""
        return self._rate((0,), (0, 2))

    @property
    def specificity(self) -> Estimate:
        """Share of the unhelpful rows that stayed closed; undefined without any."""
        return self._rate((3,), (1, 3))

    @property
    def accuracy(self) -> Estimate:
        """Share of all rows that were decided rightly."""
        return self._rate((0, 3), (0, 1, 2, 3))

    @property
    def share_opened(self) -> Estimate:
        """Share of all rows that were opened."""
        return self._rate((0, 1), (0, 1, 2, 3))

    def _rate(self, hits: tuple[int, ...], trials: tuple[int, ...]) -> Estimate:
        """Estimate the share of some counts, by their places in a row of `by_group`."""
        alone = (self.true_positive, self.false_positive, self.false_negative, self.true_negative)
        counts = self.by_group or (alone,)
        found = [[sum(row[i] for i in part) for row in counts] for part in (hits, trials)]
        return grouped_rate(*found) if self.by_group else rate(found[0][0], found[1][0])


@dataclass(frozen=True)
class OracleComparison:
    """A gate's decisions against the per-item oracle."""

    confusion: Confusion
    """Decisions against "the persona's answer scored higher"; equal scores count as no."""
    regret: Estimate
    """Mean score lost against always taking the better answer; 0 is perfect."""
    ties: int
    """Items on which both answers scored alike, where either decision costs nothing."""


def confusion(
    labels: Sequence[bool], decisions: Sequence[bool], *, groups: Sequence[Hashable] | None = None
) -> Confusion:
    """Count decisions against the truth; `groups` name each row's topic."""
    truth, opened = binary_array(labels, "labels"), binary_array(decisions, "decisions")
    same_length("labels", len(truth), "decisions", len(opened))
    if groups is None:
        return _confusion(truth, opened)
    same_length("labels", len(truth), "groups", len(groups))
    # The place of a row's count: hits, false alarms, misses, rightly closed.
    kinds = np.where(opened, np.where(truth, 0, 1), np.where(truth, 2, 3))
    counts = np.zeros((len(set(groups)), 4), dtype=np.intp)
    np.add.at(counts, (group_numbers(groups), kinds), 1)
    return replace(
        _confusion(truth, opened), by_group=tuple((a, b, c, d) for a, b, c, d in counts.tolist())
    )


def confusion_at(
    labels: Sequence[bool],
    probabilities: Sequence[float],
    threshold: float,
    *,
    groups: Sequence[Hashable] | None = None,
) -> Confusion:
    """Count the decisions `probability >= threshold` against the truth."""
    if np.isnan(threshold):
        raise InputError("threshold is nan; give a number, 0..1 for probabilities")
    given = probability_array(probabilities, "probabilities")
    return confusion(labels, (given >= threshold).tolist(), groups=groups)


def best_threshold(labels: Sequence[bool], probabilities: Sequence[float]) -> float:
    """Return the threshold with the best balanced accuracy, which is also Youden's best.

    Candidates lie halfway between neighbouring probabilities, so that no row sits on the edge.

    Raises:
        StatisticsError: There is no positive or no negative row.
    """
    truth = binary_array(labels, "labels")
    given = probability_array(probabilities, "probabilities")
    same_length("labels", len(truth), "probabilities", len(given))
    if truth.all() or not truth.any():
        raise StatisticsError(
            f"{int(truth.sum())} of {len(truth)} rows are positive; "
            "a threshold can only be chosen with positive and negative rows"
        )
    distinct = np.unique(given)
    candidates = np.concatenate(([distinct[0]], (distinct[:-1] + distinct[1:]) / 2))
    wins, losses = np.sort(given[truth]), np.sort(given[~truth])
    sensitivity = 1 - np.searchsorted(wins, candidates) / len(wins)
    specificity = np.searchsorted(losses, candidates) / len(losses)
    balanced = sensitivity + specificity
    best = np.flatnonzero(balanced >= balanced.max() - 1e-12)
    return float(candidates[best[np.argmin(np.abs(candidates[best] - 0.5))]])


def against_oracle(
    opened: Sequence[bool], scores: Pairs, *, bounds: Bounds | None = None
) -> OracleComparison:
    """Compare a gate's decisions with the oracle that knows both answers' scores.

    Args:
        opened: The gate's decision for each of `scores.items`, in their order.
        scores: Treatment = the answer with the gate open, control = with it closed.
        bounds: Those of a score.
    """
    decisions = binary_array(opened, "opened")
    same_length("opened", len(decisions), "scores.items", scores.n)
    treated, control = finite_array(scores.treatment, "treatment"), np.asarray(scores.control)
    helps, ties = treated > control, int((treated == control).sum())
    lost = np.maximum(treated, control) - np.where(decisions, treated, control)
    span = None if bounds is None else (0.0, bounds[1] - bounds[0])
    return OracleComparison(_confusion(helps, decisions), mean_of(lost, bounds=span), ties)


def _confusion(truth: BoolArray, opened: BoolArray) -> Confusion:
    return Confusion(
        int((truth & opened).sum()),
        int((~truth & opened).sum()),
        int((truth & ~opened).sum()),
        int((~truth & ~opened).sum()),
    )
