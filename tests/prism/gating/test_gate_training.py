"""Training the gate: what it learns, what it never sees, and what it says when it cannot learn."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from prism_core.errors import CancelledError, InputError
from prism_core.models.local import LocalModel
from prism_core.prism.gating.fitting import balanced_order
from prism_core.prism.gating.gate import Gate
from prism_core.prism.gating.report import GateConfig, GateReport
from prism_core.prism.gating.training import train_gate
from prism_core.prism.records import AnswerPair, JudgedPair, Query
from prism_core.prism.splits import group_of, split_by_group
from prism_core.progress import Progress, ProgressReport
from prism_core.stats import best_threshold, rate, rate_of, roc_auc
from prism_core.storage.values import dumps, loads, unpack
from prism_core.types import Completion, Verdict

QUICK = GateConfig(epochs=15, folds=3, held_out_share=0.25, feature="mean")


class MemoryJournal:
    def __init__(self) -> None:
        self.parts: dict[str, dict[str, Any]] = {}

    def load(self, stage: str) -> dict[str, Any]:
        return dict(self.parts.get(stage, {}))

    def save(self, stage: str, parts: Mapping[str, Any]) -> None:
        self.parts.setdefault(stage, {}).update(loads(dumps(dict(parts))))


def judged(text: str, subtopic: str, wins: bool, persona: str = "bard") -> JudgedPair:
    query = Query(f"{persona}/{subtopic}/{text}", persona, subtopic, text)
    answers = AnswerPair(query, Completion("one"), Completion("two"))
    return JudgedPair(answers, Verdict("persona" if wins else "tie", 0.5, 0.5))


def poems_and_sums() -> list[JudgedPair]:
    """Poems are won, sums are not: easy to tell apart by the words of the question."""
    things = ("sea", "moon", "cat", "rain", "road", "bread", "snow", "lamp")
    rows = []
    for group in range(8):
        for i, thing in enumerate(things):
            text = f"Write a poem about the {thing}, verse {group}."
            rows.append(judged(text, f"poems {group}", True, "bard"))
            text = f"What is {group + 2} times {i + 11}?"
            rows.append(judged(text, f"sums {group}", False, "clerk"))
    return rows


def train(config: GateConfig, rows: list[JudgedPair], model: LocalModel) -> Any:
    return train_gate(config, rows, model, MemoryJournal(), Progress())


def test_the_gate_learns_what_it_is_shown_on_the_real_model(model: LocalModel) -> None:
    journal, seen = MemoryJournal(), []
    rows = poems_and_sums()
    result = train_gate(QUICK, rows, model, journal, Progress(lambda r: seen.append(r)))
    report = result.report
    assert report.trained and report.feature == "mean" and report.threshold == 0.5
    assert report.held_out.auc.value is not None and report.held_out.auc.value > 0.95
    assert report.held_out.at_paper.accuracy.value > 0.9
    assert report.curve[0].train > report.curve[report.epoch - 1].train, "the loss falls"
    assert len(report.curve) == QUICK.epochs
    assert {g.name for g in report.by_persona} == {"bard", "clerk"}
    assert len(journal.parts["gate_curve"]) == QUICK.epochs
    assert unpack(GateReport, journal.parts["gate"]["report"]) == report
    assert isinstance(seen[-1], ProgressReport) and seen[-1].done == seen[-1].total


def test_every_row_is_scored_by_a_gate_that_has_not_seen_it(tiny: LocalModel) -> None:
    report = train(QUICK, poems_and_sums(), tiny).report
    held = [row for row in report.rows if row.held_out]
    rest = [row for row in report.rows if not row.held_out]
    assert len(held) == 32 and len(rest) == 96  # a quarter of 8 + 8 groups of 8
    assert not {r.subtopic for r in held} & {r.subtopic for r in rest}, "no group is divided"
    assert all(row.unseen == row.probability for row in held)
    assert all(row.unseen is not None for row in rest)
    assert any(row.unseen != row.probability for row in rest)
    assert report.held_out.auc.n == 32 and report.out_of_fold.auc.n == 128


def test_labels_at_random_cannot_be_told_apart_on_held_out_queries(tiny: LocalModel) -> None:
    # A gate scored on its own training rows would show an AUC near 1 here.
    draw = torch.Generator().manual_seed(5)
    flips = (torch.rand(128, generator=draw) < 0.5).tolist()
    rows = [
        judged(r.pair.query.text, r.pair.query.subtopic, wins)
        for r, wins in zip(poems_and_sums(), flips, strict=True)
    ]
    report = train(QUICK, rows, tiny).report
    own = [row.probability > 0.5 for row in report.rows if not row.held_out]
    truth = [row.distill for row in report.rows if not row.held_out]
    assert report.out_of_fold.auc.low is not None and report.out_of_fold.auc.low < 0.6
    assert sum(a == b for a, b in zip(own, truth, strict=True)) / len(own) > 0.5


def test_the_same_seed_gives_the_same_gate_and_another_seed_another(tiny: LocalModel) -> None:
    one, two = (train(QUICK, poems_and_sums(), tiny) for _ in range(2))
    other = train(GateConfig(**{**vars(QUICK), "seed": 1}), poems_and_sums(), tiny)
    weights = [r.gate.net[0].weight for r in (one, two, other)]
    assert torch.equal(weights[0], weights[1]) and one.report == two.report
    assert not torch.equal(weights[0], weights[2])


def test_auto_chooses_the_feature_with_the_best_cross_validation(tiny: LocalModel) -> None:
    report = train(GateConfig(epochs=8, folds=3, feature="auto"), poems_and_sums(), tiny).report
    scores = {s.feature: s.auc.value for s in report.features}
    assert set(scores) == {"last", "mean", "both"}
    assert scores[report.feature] == max(scores.values())


def test_the_gate_standardises_by_the_training_part_alone(tiny: LocalModel) -> None:
    result = train(QUICK, poems_and_sums(), tiny)
    gate: Gate = result.gate
    assert gate.mean.shape == (32,) and bool((gate.spread > 0).all())
    assert not any(p.requires_grad for p in gate.parameters())


def test_a_threshold_is_chosen_out_of_fold_and_reported_beside_the_papers(tiny: LocalModel) -> None:
    config = GateConfig(**{**vars(QUICK), "threshold": "out_of_fold"})
    report = train(config, poems_and_sums(), tiny).report
    rows = [r for r in report.rows if not r.held_out and r.unseen is not None]
    best = best_threshold([r.distill for r in rows], [float(r.unseen or 0) for r in rows])
    assert report.threshold == best
    held = [r for r in report.rows if r.held_out]
    for at, threshold in ((report.held_out.at_threshold, best), (report.held_out.at_paper, 0.5)):
        assert at is not None and at.share_opened.value == pytest.approx(
            sum(r.probability >= threshold for r in held) / len(held)
        )
    with pytest.raises(InputError, match="rows that it is reported on"):
        train(GateConfig(**{**vars(QUICK), "threshold": "held_out"}), poems_and_sums(), tiny)


def test_intervals_count_topics_not_queries(tiny: LocalModel) -> None:
    report = train(QUICK, poems_and_sums(), tiny).report
    held = [r for r in report.rows if r.held_out]
    topics = [r.subtopic for r in held]
    labels, given = [r.distill for r in held], [r.probability for r in held]
    assert report.held_out.auc == roc_auc(labels, given, groups=topics)
    # Four topics of eight queries, each wholly won or wholly lost: as sure as four trials.
    assert report.held_out.share == rate_of(labels, topics)
    assert report.held_out.share.low is not None and report.held_out.share.low < rate(16, 32).low


@pytest.mark.parametrize(("wins", "opens"), [(False, False), (True, True)])
def test_labels_of_one_kind_give_a_constant_gate_that_says_so(
    tiny: LocalModel, wins: bool, opens: bool
) -> None:
    rows = [judged(f"Question {i}?", f"group {i % 5}", wins) for i in range(20)]
    result = train(QUICK, rows, tiny)
    report = result.report
    # (0 + 1/2) / (20 + 1) and (20 + 1/2) / (20 + 1)
    assert report.rows[0].probability == pytest.approx(20.5 / 21 if wins else 0.5 / 21)
    given = result.gate(torch.randn(3, 32))
    assert given.tolist() == pytest.approx([20.5 / 21 if wins else 0.5 / 21] * 3, abs=1e-6)
    assert all((p >= result.report.threshold) is opens for p in given.tolist())
    assert not report.trained and len(report.warnings) == 1
    assert ("won none" in report.warnings[0]) is not wins
    assert report.held_out.auc.value is None, "undefined, not 0"
    assert report.held_out.best is None
    dumps(report)


def test_too_few_wins_give_a_constant_gate(tiny: LocalModel) -> None:
    rows = [judged(f"Question {i}?", f"group {i % 5}", i < 2) for i in range(20)]
    report = train(QUICK, rows, tiny).report
    assert not report.trained and "needs 4 of either kind" in report.warnings[0]
    assert report.rows[0].probability == pytest.approx(2.5 / 21)


def test_one_group_cannot_be_validated_and_says_so(tiny: LocalModel) -> None:
    rows = [judged(f"Write a poem about {i}.", "all", True) for i in range(8)]
    rows += [judged(f"What is {i} + 1?", "all", False) for i in range(8)]
    report = train(QUICK, rows, tiny).report
    assert report.trained and report.features == ()
    assert any("cross-validation" in w for w in report.warnings)
    assert report.held_out.auc.value is None


def test_mistakes_are_quoted(tiny: LocalModel) -> None:
    with pytest.raises(InputError, match="no judged queries"):
        train(QUICK, [], tiny)
    wrong = {"epochs": 0, "feature": "first", "held_out_share": 0.0, "folds": 1, "lr": 0.0}
    for name, value in wrong.items():
        with pytest.raises(InputError, match=f"{name} is.*{value}"):
            train(GateConfig(**{name: value}), poems_and_sums(), tiny)


def test_a_cancel_stops_it(tiny: LocalModel) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        train_gate(QUICK, poems_and_sums(), tiny, MemoryJournal(), Progress(cancel=cancel))


def test_groups_join_by_subtopic_and_by_text() -> None:
    queries = [
        Query("1", "a", "birds", "Why do birds sing?"),
        Query("2", "a", "Birds ", "How do wings work?"),  # the same sub-topic, differently typed
        Query("3", "b", "flight", "how do  wings work?"),  # the same text: flight joins birds
        Query("4", "b", "flight", "What is lift?"),
        Query("5", "b", "", "What is drag?"),
        Query("6", "b", "", "What is thrust?"),
    ]
    assert group_of(queries) == [0, 0, 0, 0, 1, 2]


def test_a_split_keeps_groups_whole_and_shares_near() -> None:
    groups = [g for g in range(12) for _ in range(10)]
    labels = [g % 3 == 0 for g in groups]  # 4 of 12 groups are positive
    parts = split_by_group(groups, labels, (0.75, 0.25), seed=3)
    for g in range(12):
        assert len({p for p, h in zip(parts, groups, strict=True) if h == g}) == 1
    held = [label for part, label in zip(parts, labels, strict=True) if part == 1]
    assert (len(held), sum(held)) == (30, 10)  # a quarter of 120 and a quarter of 40
    assert parts != split_by_group(groups, labels, (0.75, 0.25), seed=4)
    with pytest.raises(InputError, match="sum to 1"):
        split_by_group(groups, labels, (0.5, 0.2), seed=0)


def test_the_rarer_class_is_drawn_until_both_are_as_many() -> None:
    labels = torch.tensor([True] * 3 + [False] * 9)
    order = balanced_order(labels, torch.Generator().manual_seed(0))
    drawn = labels[order]
    assert (int(drawn.sum()), int((~drawn).sum())) == (9, 9)
    assert set(order.tolist()) == set(range(12)), "every row is there at least once"
