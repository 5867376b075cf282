"""The settings of a gate's training and what is known of it afterwards, as plain values.

Every number is taken on queries that the gate which scored them has not seen: the held-out part,
scored by the final gate, and the training part, scored out of fold by the gates of the
cross-validation. Queries of one sub-topic are alike, so intervals of areas and rates count
sub-topics. A threshold is the paper's 0.5 or chosen out of fold on the training part, never on the
held-out rows, on which it is reported beside 0.5.
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
    """`paper` is 0.5, `out_of_fold` the best balanced accuracy on the training part's out-of-fold
    probabilities. `held_out` is read from earlier runs alone: it flatters the numbers there."""


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
    at_threshold: Confusion | None = None
    """Decisions at the gate's threshold; None in the reports of earlier versions."""


@dataclass(frozen=True)
class GroupQuality:
    """The same in brief for one persona or one sub-topic, on unseen probabilities."""

    name: str
    share: Estimate
    auc: Estimate
    at_paper: Confusion
    at_threshold: Confusion
    """On the held-out rows alone, since the threshold may be chosen on the others."""


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


def topics_of(rows: Sequence[GateRow]) -> list[str]:
    """Name the topic of each row: its sub-topic, or the query itself where it has none."""
    return [" ".join(row.subtopic.casefold().split()) or f"\0{row.query}" for row in rows]


def _unseen(row: GateRow) -> float:
    """Return what a gate says that has not seen the row; a constant one has seen nothing."""
    return row.probability if row.held_out or row.unseen is None else row.unseen


def quality_of(rows: Sequence[GateRow], threshold: float, seed: int) -> GateQuality:
    """Compute every figure of one set of unseen rows; undefined ones stay undefined."""
    labels, given = [row.distill for row in rows], [_unseen(row) for row in rows]
    topics = topics_of(rows)
    both = any(labels) and not all(labels)
    best = best_threshold(labels, given) if both else None
    at_paper, at_best, at_threshold = (
        None if limit is None else confusion_at(labels, given, limit, groups=topics)
        for limit in (PAPER_THRESHOLD, best, threshold)
    )
    assert at_paper is not None
    return GateQuality(
        auc=roc_auc(labels, given, groups=topics),
        average_precision=average_precision(labels, given, groups=topics, seed=seed),
        share=rate_of(labels, topics),
        calibration=calibration(labels, given, seed=seed),
        at_paper=at_paper,
        best=best,
        at_best=at_best,
        at_threshold=at_threshold,
    )


def by_group(
    rows: Sequence[GateRow], name_of: Callable[[GateRow], str], threshold: float
) -> tuple[GroupQuality, ...]:
    """Summarise the unseen rows by name, in order of first appearance."""
    groups: dict[str, list[GateRow]] = {}
    for row in rows:
        if row.unseen is not None:
            groups.setdefault(name_of(row), []).append(row)
    return tuple(_group(name, members, threshold) for name, members in groups.items())


def _group(name: str, rows: Sequence[GateRow], threshold: float) -> GroupQuality:
    topics = topics_of(rows)
    # What is said of one sub-topic is said of its queries, not of sub-topics.
    groups = topics if len(set(topics)) > 1 else None
    labels, given = [row.distill for row in rows], [_unseen(row) for row in rows]
    held = [i for i, row in enumerate(rows) if row.held_out]
    at_threshold = confusion_at(
        [labels[i] for i in held],
        [given[i] for i in held],
        threshold,
        groups=None if groups is None else [groups[i] for i in held],
    )
    return GroupQuality(
        name,
        rate_of(labels, groups),
        roc_auc(labels, given, groups=groups),
        confusion_at(labels, given, PAPER_THRESHOLD, groups=groups),
        at_threshold,
    )
