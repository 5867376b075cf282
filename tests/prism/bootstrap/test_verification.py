"""Stage 3: verdicts in both orders, what they add up to, and going on after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.scripted import Scripted

from prism_core.errors import CancelledError, InputError
from prism_core.models.local import LocalModel
from prism_core.prism.bootstrap.verification import (
    STAGE,
    VerifyConfig,
    load_judge_check,
    verification_report,
    verify_pairs,
)
from prism_core.prism.records import AnswerPair, JudgedPair, Query
from prism_core.prism.resolve import judge_of
from prism_core.prism.spec import PRESETS
from prism_core.progress import Progress
from prism_core.scorers.judges import ModelJudge, VerifiableJudge
from prism_core.storage import Store
from prism_core.storage.journal import Journal, MemoryJournal, StoreJournal
from prism_core.types import Completion, Verdict


def pair_of(
    i: int, persona: str, neutral: str, name: str = "cook", lengths: tuple[int, int] = (5, 5)
) -> AnswerPair:
    query = Query(f"q{i}", name, "all", f"What is {i}?")
    return AnswerPair(
        query, Completion(persona, tokens=lengths[0]), Completion(neutral, tokens=lengths[1])
    )


PAIRS = [
    pair_of(0, "GOOD", "bad"),
    pair_of(1, "bad", "GOOD"),
    pair_of(2, "bad", "bad"),
    pair_of(3, "GOOD", "bad", "poet"),
    pair_of(4, "GOOD", "GOOD", "poet"),
]
CONFIG = VerifyConfig(batch_pairs=2, check_first=False)


def scripted() -> Scripted:
    return Scripted(lambda p, s: "A")


def run(model: Scripted, journal: Journal, config: VerifyConfig = CONFIG) -> list[JudgedPair]:
    return verify_pairs(config, PAIRS, ModelJudge(model), journal, Progress())


def test_the_persona_must_win_in_both_orders() -> None:
    judged = run(scripted(), MemoryJournal())
    # The scripted judge prefers GOOD; where both are alike, the one shown first: a tie.
    assert [j.verdict.winner for j in judged] == ["persona", "neutral", "tie", "persona", "tie"]
    assert [j.route for j in judged] == ["distill", "retain", "retain", "distill", "retain"]
    tie = judged[2].verdict
    assert tie.persona_first > 0.5 > tie.persona_second


def test_the_report_adds_the_routes_up_by_persona() -> None:
    report = verification_report(run(scripted(), MemoryJournal()))
    assert [(r.persona, r.distill, r.retain) for r in report.routes] == [
        ("cook", 1, 2),
        ("poet", 1, 1),
    ]
    assert (report.distill.value, report.distill.n) == (2 / 5, 5)
    assert report.ties.value == 2 / 5
    assert report.order_consistency.value == 3 / 5, "both ties changed with the order"
    assert report.check is None


def test_verbosity_is_the_correlation_of_winning_with_being_longer() -> None:
    def judged(wins: list[bool]) -> list[JudgedPair]:
        verdicts = [Verdict("persona" if w else "neutral", 0.9, 0.9) for w in wins]
        pairs = [pair_of(i, "x", "y", lengths=(10 + i, 10)) for i in range(len(wins))]
        return [JudgedPair(p, v) for p, v in zip(pairs, verdicts, strict=True)]

    longer = verification_report(judged([False] * 6 + [True] * 6))
    # Ranks: wins 3.5 or 9.5 (sd 3), lengths 1..12 (sd 3.452), covariance 3 * 3: 9 / 10.356.
    assert longer.verbosity.value == pytest.approx(0.869, abs=1e-3)
    assert "reward length" in longer.warning
    mixed = verification_report(judged([True, False, False, True] * 3))
    assert mixed.verbosity.value is not None and abs(mixed.verbosity.value) < 0.3
    assert mixed.warning == ""
    always = verification_report(judged([True] * 4))
    assert always.verbosity.value is None, "no variation, no correlation"
    assert "one class" in always.warning


@pytest.mark.parametrize("crash", [1, 2, 3])
def test_resumed_after_a_crash_equals_uninterrupted(tmp_path: Path, crash: int) -> None:
    expected = run(scripted(), MemoryJournal())
    with Store(home=tmp_path) as store:
        journal = StoreJournal(store, store.create_run("train", "t", {}).id)
        broken = scripted()
        broken.fail_at = crash
        with pytest.raises(RuntimeError, match="went down"):
            run(broken, journal)
        rest = scripted()
        assert run(rest, journal) == expected
    assert rest.calls == [4, 4, 2][crash - 1 :], "two orders a pair: 2 + 2 + 1 pairs"


def test_a_cancelled_batch_is_not_journaled() -> None:
    journal, model = MemoryJournal(), scripted()
    model.cancel_at = 2
    with pytest.raises(CancelledError):
        run(model, journal)
    assert [k for k in journal.load(STAGE) if not k.startswith("#")] == ["q0", "q1"]


def test_the_judge_check_runs_first_once_and_is_kept() -> None:
    journal, model = MemoryJournal(), scripted()
    config = VerifyConfig(batch_pairs=8)
    run(model, journal, config)
    check = load_judge_check(journal)
    assert check is not None
    # No shipped answer says GOOD, so this judge follows the place: all ties, accuracy 1/2.
    assert (check.accuracy.value, check.order_consistency.value) == (0.5, 0.0)
    assert check.near_chance and check.first_preference.value == 1.0
    calls = [2 * len(check.verdicts), 2 * len(PAIRS)]
    assert model.calls == calls, "the check first, then the pairs"
    again = scripted()
    run(again, journal, config)
    assert again.calls == []
    report = verification_report(run(again, journal, config), check)
    assert report.check == check and check.warning in report.warning


def test_a_program_as_judge_needs_no_check() -> None:
    config = VerifyConfig(judge="verifiable")
    judge = VerifiableJudge(lambda question, answer: "GOOD" in answer)
    journal = MemoryJournal()
    judged = verify_pairs(config, PAIRS, judge, journal, Progress())
    assert [j.verdict.winner for j in judged] == ["persona", "neutral", "tie", "persona", "tie"]
    assert load_judge_check(journal) is None
    assert verify_pairs(config, PAIRS, judge, journal, Progress()) == judged


def test_judges_by_name() -> None:
    assert type(judge_of(PRESETS["quick"], scripted())[1]) is ModelJudge
    assert type(judge_of(PRESETS["demo"], scripted())[1]) is VerifiableJudge
    with pytest.raises(InputError, match="oracle"):
        run(scripted(), MemoryJournal(), VerifyConfig("oracle"))  # type: ignore[arg-type]


def test_another_judge_on_the_same_run_is_refused() -> None:
    journal = MemoryJournal()
    run(scripted(), journal)
    other = scripted()
    other.fingerprint = "scripted-2"
    with pytest.raises(InputError, match="another model"):
        run(other, journal)


def test_the_embedded_model_judges_alike_in_any_batch(model: LocalModel) -> None:
    pairs = [
        pair_of(0, "Paris is the capital of France.", "zxq zxq zxq"),
        pair_of(1, "banana", "Two plus two is four."),
        pair_of(2, "Water boils at 100 degrees Celsius at sea level.", "It boils when it does."),
    ]
    together = VerifyConfig(check_first=False)
    alone = VerifyConfig(check_first=False, batch_pairs=1)
    judge = ModelJudge(model)
    one = verify_pairs(together, pairs, judge, MemoryJournal(), Progress())
    each = verify_pairs(alone, pairs, judge, MemoryJournal(), Progress())
    for a, b in zip(one, each, strict=True):
        assert a.verdict.persona_first == pytest.approx(b.verdict.persona_first, abs=1e-4)
        assert a.verdict.persona_second == pytest.approx(b.verdict.persona_second, abs=1e-4)
        assert 0 < a.verdict.persona_first < 1
