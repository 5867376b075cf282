"""The settings of a gate's training and what is known of it afterwards, as plain values.

Every number is taken on queries that the gate which scored them has not seen: the held-out part,
scored by the final gate, and the training part, scored out of fold by the gates of the
cross-validation. A threshold chosen on the rows that it is then examined on looks better than it
is; the paper's 0.5 stands beside it, and `out_of_fold` chooses it on the training part instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from prism_core.prism.gating.settings import PAPER_THRESHOLD, Feature
from prism_core.stats import (
    Calibration,
    Confusion,
    average_precision,
    best_threshold,
    calibration,
    confusion_at,
    rate_of,
    roc_auc,
)
from prism_core.types import Estimate


@dataclass(frozen=True)
class GateConfig:
    """Settings of a gate's training by AdamW; feature and threshold are the paper's by default."""

    feature: Literal["auto", "last", "mean", "both"] = "last"
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 30
    """How often every query is read, at most; cross-validation may choose fewer."""
    lr: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, lt=100)] = 1e-2
    batch: Annotated[int, Field(ge=1, le=10_000)] = 64
    held_out_share: Annotated[float, Field(gt=0, le=0.8)] = 0.25
    """Share of the queries that the gate is examined on, in whole groups."""
    folds: Annotated[int, Field(ge=2, le=10_000)] = 5
    seed: int = 0
    """Draws the split, the resampling and the weights."""
    threshold: Literal["paper", "held_out", "out_of_fold"] = "paper"
    """`paper` is 0.5; else the best balanced accuracy on the held-out part, which flatters the
    numbers there, or on the training part's out-of-fold probabilities, which does not."""


@dataclass(frozen=True)
class GateRow:
    """One query as the gate sees it."""

    query: str
    persona: str
    subtopic: str
    distill: bool
    held_out: bool
    probability: float
    unseen: float | None
    """By a gate that has not seen its group: the final one where held out, else out of fold."""


@dataclass(frozen=True)
class GateEpoch:
    """One epoch of the final gate's training."""

    epoch: int
    train: float
    """Cross-entropy on the resampled training part, in nats."""
    held_out: float | None
    """Cross-entropy on the held-out part; None where there is none."""


@dataclass(frozen=True)
class FeatureScore:
    """How one feature did in cross-validation."""

    feature: Feature
    auc: Estimate
    """ROC-AUC of the out-of-fold probabilities on the training part."""
    loss: float
    """Cross-entropy out of fold at the best epoch, in nats."""
    epoch: int


@dataclass(frozen=True)
class GateQuality:
    """How good probabilities are on queries that the gate has not seen.

    `at_paper` are the decisions at the paper's threshold.
    """

    auc: Estimate
    """ROC-AUC: the chance that a `distill` query outranks a `retain` one."""
    average_precision: Estimate
    """Area under precision and recall; compare it with `share`."""
    share: Estimate
    """Share of `distill` queries: the average precision of a gate that guesses."""
    calibration: Calibration
    """Probabilities against what happened, with the Brier score. Resampling pulls probabilities
    towards one half, so expect a gap where the classes are uneven."""
    at_paper: Confusion
    best: float | None
    """Threshold with the best balanced accuracy on these very rows; None with one class alone."""
    at_best: Confusion | None
    """Decisions there; flattering, since it was chosen on these rows."""


@dataclass(frozen=True)
class GroupQuality:
    """The same in brief for one persona or one sub-topic, on unseen probabilities."""

    name: str
    share: Estimate
    auc: Estimate
    at_paper: Confusion
    at_threshold: Confusion


@dataclass(frozen=True)
class GateReport:
    """Everything that is known of a trained gate, as it is stored and shown."""

    trained: bool
    """False where the labels allow no more than a constant."""
    feature: Feature
    features: tuple[FeatureScore, ...]
    epoch: int
    curve: tuple[GateEpoch, ...]
    """Loss by epoch, beyond the kept one too, to show where it begins to learn by heart."""
    threshold: float
    held_out: GateQuality
    out_of_fold: GateQuality
    """On all rows with a probability from a gate that has not seen them: more rows, and gates that
    are each a little different from the final one."""
    by_persona: tuple[GroupQuality, ...]
    by_subtopic: tuple[GroupQuality, ...]
    rows: tuple[GateRow, ...]
    warnings: tuple[str, ...]
    config: GateConfig = field(default_factory=GateConfig)

    @property
    def held_out_ids(self) -> frozenset[str]:
        """Ids of the queries that neither gate nor adapter may learn from."""
        return frozenset(row.query for row in self.rows if row.held_out)


def quality_of(labels: Sequence[bool], probabilities: Sequence[float], seed: int) -> GateQuality:
    """Compute every figure of one set of unseen rows; undefined ones stay undefined."""
    both = any(labels) and not all(labels)
    best = best_threshold(labels, probabilities) if both else None
    return GateQuality(
        auc=roc_auc(labels, probabilities),
        average_precision=average_precision(labels, probabilities, seed=seed),
        share=rate_of(labels),
        calibration=calibration(labels, probabilities, seed=seed),
        at_paper=confusion_at(labels, probabilities, PAPER_THRESHOLD),
        best=best,
        at_best=None if best is None else confusion_at(labels, probabilities, best),
    )


def by_group(
    rows: Sequence[GateRow], name_of: Callable[[GateRow], str], threshold: float
) -> tuple[GroupQuality, ...]:
    """Summarise the unseen rows by name, in order of first appearance."""
    groups: dict[str, tuple[list[bool], list[float]]] = {}
    for row in rows:
        if row.unseen is not None:
            labels, probabilities = groups.setdefault(name_of(row), ([], []))
            labels.append(row.distill)
            probabilities.append(row.unseen)
    return tuple(
        GroupQuality(
            name,
            rate_of(labels),
            roc_auc(labels, probabilities),
            confusion_at(labels, probabilities, PAPER_THRESHOLD),
            confusion_at(labels, probabilities, threshold),
        )
        for name, (labels, probabilities) in groups.items()
    )
