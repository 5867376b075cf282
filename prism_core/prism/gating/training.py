"""Stage 4, the gate: learn from the queries alone where the persona's answer wins.

1. Layer 0's features of every neutral prompt are read once; a label is `distill` or `retain`.
2. A part of the queries is held out in whole groups (sub-topics; equal texts stay together).
3. Cross-validation by group inside the training part chooses the feature and the epoch.
4. The final gate is trained on the training part and examined on the held-out part.
PRISM, section 4.2. Departures: features are standardised, the epoch is chosen, queries are held out
(the paper's released code scores its gate on its own training rows).

Where the labels are too few or all alike, the gate is a constant at their share, and says so: a run
in which the persona never won ends with a closed gate, which is the base model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from prism_core.errors import InputError
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import build_prompt
from prism_core.prism.gating.fitting import fit_gate, losses_of
from prism_core.prism.gating.gate import Gate, part_of, read_features
from prism_core.prism.gating.report import (
    FeatureScore,
    GateConfig,
    GateEpoch,
    GateReport,
    GateRow,
    by_group,
    quality_of,
)
from prism_core.prism.gating.settings import FEATURES, PAPER_THRESHOLD, Feature
from prism_core.prism.records import JudgedPair
from prism_core.prism.splits import group_of, split_by_group
from prism_core.progress import Progress
from prism_core.stats import best_threshold, roc_auc
from prism_core.storage.journal import Journal
from prism_core.storage.values import pack
from prism_core.types import PromptVariant
from prism_core.utils.validation import check

STAGE = "gate"
CURVE_STAGE = "gate_curve"
FEWEST_LABELS = 4
"""Fewer queries of either kind teach nothing that could be checked."""


@dataclass(frozen=True)
class GateResult:
    """A trained gate and how it did."""

    gate: Gate
    """On the model's device, ready for `GatedModel`."""
    report: GateReport


@dataclass(frozen=True)
class _Examples:
    """The queries as numbers; `train` and `held_out` are row numbers."""

    both: torch.Tensor
    """Features (n, 2 h): last token, then mean."""
    labels: torch.Tensor
    groups: list[int]
    train: list[int]
    held_out: list[int]

    def features(self, rows: Sequence[int], feature: Feature) -> torch.Tensor:
        return part_of(self.both[list(rows)], feature)


@dataclass(frozen=True)
class _Validation:
    """Cross-validation of one feature on the training part."""

    score: FeatureScore
    logits: dict[int, float]
    """Out-of-fold log-odds of each training row at the chosen epoch."""


@dataclass(frozen=True)
class _Learnt:
    """A gate, and what it says of every query; see `GateReport` for the fields."""

    gate: Gate
    feature: Feature
    given: list[float]
    unseen: list[float | None]
    warnings: list[str]
    features: tuple[FeatureScore, ...] = ()
    epoch: int = 0
    curve: tuple[GateEpoch, ...] = ()


def train_gate(
    config: GateConfig,
    judged: Sequence[JudgedPair],
    model: LocalModel,
    journal: Journal,
    progress: Progress,
) -> GateResult:
    """Train and examine a gate. It takes seconds, and is done again rather than resumed.

    The journal keeps the report under `gate`, and the curve under `gate_curve`.

    Raises:
        InputError: a setting is not allowed, or there are no pairs.
        CancelledError: stopped on request.
    """
    check(config)
    if config.threshold == "held_out":
        raise InputError(
            "The threshold 'held_out' would be chosen on the rows that it is reported on; choose "
            "'paper' or 'out_of_fold'."
        )
    if not judged:
        raise InputError("There are no judged queries, so there is nothing to train a gate on.")
    examples = _read(config, judged, model, progress)
    problem = _why_constant(examples)
    if problem is None:
        learnt = _learn(config, examples, journal, progress)
    else:
        learnt = _constant(config, examples, problem)
    held = set(examples.held_out)
    table = tuple(
        GateRow(
            query=one.pair.query.id,
            persona=one.pair.query.persona,
            subtopic=one.pair.query.subtopic,
            distill=one.route == "distill",
            held_out=i in held,
            probability=learnt.given[i],
            unseen=learnt.unseen[i],
        )
        for i, one in enumerate(judged)
    )
    threshold = PAPER_THRESHOLD
    if problem is None:
        threshold = _threshold(config, table, learnt.warnings)
    report = _report(config, table, threshold, learnt, trained=problem is None)
    journal.save(STAGE, {"report": pack(report)})
    progress.update(STAGE, 1, 1, "done")
    return GateResult(learnt.gate.to(model.model.device), report)


def _read(
    config: GateConfig, judged: Sequence[JudgedPair], model: LocalModel, progress: Progress
) -> _Examples:
    """Read layer 0 of every query, and hold some out in whole groups."""
    progress.check()
    progress.update(STAGE, 0, 1, f"reading layer 0 of {len(judged)} queries")
    queries = [one.pair.query for one in judged]
    prompts = [build_prompt(q.text, PromptVariant(), model.has_system_role) for q in queries]
    ids = [encode_prompt(model.tokenizer, p) for p in prompts]
    with model.lock:
        both = read_features(model.model, ids, "both").clone()
    labels = [one.route == "distill" for one in judged]
    groups = group_of(queries)
    shares = (1 - config.held_out_share, config.held_out_share)
    parts = split_by_group(groups, labels, shares, config.seed)
    train, held_out = ([i for i, part in enumerate(parts) if part == n] for n in (0, 1))
    return _Examples(both, torch.tensor(labels), groups, train, held_out)


def _why_constant(examples: _Examples) -> str | None:
    """Say why no gate can be learnt, as a sentence; None if one can."""
    n, wins = len(examples.labels), int(examples.labels.sum())
    if wins == 0:
        return f"The persona won none of {n} queries: nothing to distil, and the gate stays closed."
    if wins == n:
        return f"The persona won all {n} queries: the gate has nothing to tell apart, and opens."
    learnt, rows = int(examples.labels[examples.train].sum()), len(examples.train)
    if min(learnt, rows - learnt) < FEWEST_LABELS:
        return (
            f"Of {rows} training queries the persona won {learnt}; a gate needs "
            f"{FEWEST_LABELS} of either kind, so it is a constant at the share of wins."
        )
    return None


def _constant(config: GateConfig, examples: _Examples, problem: str) -> _Learnt:
    n, wins = len(examples.labels), int(examples.labels.sum())
    share = (wins + 0.5) / (n + 1)  # never quite 0 or 1: a few queries cannot prove that
    feature: Feature = "last" if config.feature == "auto" else config.feature
    log_odds = math.log(share / (1 - share))
    gate = Gate.constant(examples.both.shape[1] // 2, feature, log_odds)
    return _Learnt(gate, feature, [share] * n, [share] * n, [problem])


def _learn(
    config: GateConfig, examples: _Examples, journal: Journal, progress: Progress
) -> _Learnt:
    """Choose feature and epoch by cross-validation, then train on the whole training part."""
    warnings: list[str] = []
    held = examples.labels[examples.held_out]
    wins = int(held.sum())
    if wins in (0, len(held)):
        warnings.append(
            f"The persona won {wins} of {len(held)} held-out queries: "
            "how well the gate tells them apart cannot be measured there."
        )
    candidates = FEATURES if config.feature == "auto" else (config.feature,)
    tried = [_validate(config, examples, feature, progress) for feature in candidates]
    found = [one for one in tried if one is not None]
    best = max(found, key=lambda v: (v.score.auc.value or 0.0, -v.score.loss), default=None)
    if best is None:
        warnings.append(
            "Too few groups of queries for cross-validation: feature and epochs are not chosen."
        )
        feature, epoch, out_of_fold = candidates[0], config.epochs, {}
    else:
        feature, epoch, out_of_fold = best.score.feature, best.score.epoch, best.logits
    gate, curve = _final(config, examples, feature, epoch, journal, progress)
    with torch.no_grad():
        given: list[float] = gate(part_of(examples.both, feature)).tolist()
    unseen: list[float | None] = [None] * len(given)
    for i in examples.held_out:
        unseen[i] = given[i]
    for i, logit in out_of_fold.items():
        unseen[i] = float(torch.tensor(logit).sigmoid())
    scores = tuple(v.score for v in found)
    return _Learnt(gate, feature, given, unseen, warnings, scores, epoch, curve)


def _validate(
    config: GateConfig, examples: _Examples, feature: Feature, progress: Progress
) -> _Validation | None:
    """Cross-validate one feature by group; None where a fold would lack a class to learn from."""
    groups, labels = [examples.groups[i] for i in examples.train], examples.labels[examples.train]
    folds = min(config.folds, len(set(groups)))
    if folds < 2:
        return None
    parts = torch.tensor(
        split_by_group(groups, labels.tolist(), [1 / folds] * folds, config.seed + 1)
    )
    features = examples.features(examples.train, feature)
    logits = torch.zeros((config.epochs, len(labels)))
    for fold in range(folds):
        progress.check()
        progress.update(STAGE, 0, 1, f"cross-validating '{feature}', fold {fold + 1} of {folds}")
        inside, outside = parts != fold, parts == fold
        wins = int(labels[inside].sum())
        if not 0 < wins < int(inside.sum()):
            return None
        fit = fit_gate(features[inside], labels[inside], features[outside], feature, config)
        logits[:, outside] = fit.other_logits
    losses = losses_of(logits, labels)
    epoch = int(losses.argmin())
    auc = roc_auc(labels.tolist(), logits[epoch].tolist(), groups=groups)
    score = FeatureScore(feature, auc, float(losses[epoch]), epoch + 1)
    return _Validation(score, dict(zip(examples.train, logits[epoch].tolist(), strict=True)))


def _final(
    config: GateConfig,
    examples: _Examples,
    feature: Feature,
    epoch: int,
    journal: Journal,
    progress: Progress,
) -> tuple[Gate, tuple[GateEpoch, ...]]:
    """Train on the whole training part; the weights of `epoch` are kept."""

    def report(done: int, loss: float) -> None:
        progress.check()
        progress.update(STAGE, done, config.epochs, f"'{feature}', loss {loss:.3f}")

    fit = fit_gate(
        examples.features(examples.train, feature),
        examples.labels[examples.train],
        examples.features(examples.held_out, feature),
        feature,
        config,
        keep=epoch,
        on_epoch=report,
    )
    held: list[float | None] = [None] * config.epochs
    if examples.held_out:
        held = losses_of(fit.other_logits, examples.labels[examples.held_out]).tolist()
    curve = tuple(
        GateEpoch(i, loss, other)
        for i, (loss, other) in enumerate(zip(fit.train_losses, held, strict=True), start=1)
    )
    journal.save(CURVE_STAGE, {f"epoch-{point.epoch:04d}": pack(point) for point in curve})
    return fit.gate, curve


def _threshold(config: GateConfig, table: Sequence[GateRow], warnings: list[str]) -> float:
    """Choose the threshold by the rule that the settings name."""
    if config.threshold == "paper":
        return PAPER_THRESHOLD
    rows = [(r.distill, r.unseen) for r in table if not r.held_out and r.unseen is not None]
    labels = [label for label, _ in rows]
    if not any(labels) or all(labels):
        warnings.append("No threshold can be chosen with one kind of label alone: 0.5 is used.")
        return PAPER_THRESHOLD
    return best_threshold(labels, [p for _, p in rows])


def _report(
    config: GateConfig,
    table: tuple[GateRow, ...],
    threshold: float,
    learnt: _Learnt,
    *,
    trained: bool,
) -> GateReport:
    return GateReport(
        trained=trained,
        feature=learnt.feature,
        features=learnt.features,
        epoch=learnt.epoch,
        curve=learnt.curve,
        threshold=threshold,
        held_out=quality_of([r for r in table if r.held_out], threshold, config.seed),
        out_of_fold=quality_of([r for r in table if r.unseen is not None], threshold, config.seed),
        by_persona=by_group(table, lambda row: row.persona, threshold),
        by_subtopic=by_group(table, lambda row: row.subtopic, threshold),
        rows=table,
        warnings=tuple(learnt.warnings),
        config=config,
    )
