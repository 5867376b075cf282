"""Judging: both orders, ties, position bias, and the check of the judge itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from prism_core.errors import InputError, ModelError, NotFoundError
from prism_core.models.local import LocalModel
from prism_core.scorers.judge_check import check_judge, load_check_pairs
from prism_core.scorers.judges import (
    JudgePair,
    ModelJudge,
    VerifiableJudge,
    judge_pair,
    judging_prompt,
    verdict_of,
)
from prism_core.scorers.verdicts import first_preference, verbosity_correlation, win_rate
from prism_core.types import ChoiceScore, Completion, Message, Prompt, Sampling, Verdict

PAIR = JudgePair("What is 2 + 2?", "It is 4.", "It is 5.")


class Scorer:
    """Scores the two labels by a function of the prompt's text; decodes what it is told to."""

    name = "scorer"
    fingerprint = "scorer"
    has_system_role = True

    def __init__(
        self, odds: Callable[[str], float], answer: str = "", error: ModelError | None = None
    ) -> None:
        self.odds, self.answer, self.error = odds, answer, error
        self.prompts: list[Prompt] = []
        self.calls = 0

    def score_choices(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        *,
        cancel: threading.Event | None = None,
    ) -> list[list[ChoiceScore]]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.prompts += prompts
        return [[ChoiceScore(self.odds(p[0].content), 1), ChoiceScore(0.0, 1)] for p in prompts]

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: object = 0, **_: object
    ) -> list[Completion]:
        return [Completion(self.answer) for _ in prompts]

    def stream(self, *_: object, **__: object) -> object:
        raise NotImplementedError


def likes_four_first(text: str) -> float:
    """Prefers the correct answer, by 1, and the first place, by 3."""
    return 3.0 + (1.0 if text.index("It is 4.") < text.index("It is 5.") else -1.0)


def fair(text: str) -> float:
    return 2.0 if text.index("It is 4.") < text.index("It is 5.") else -2.0


def test_all_pairs_and_orders_are_one_call() -> None:
    model = Scorer(fair)
    verdicts = ModelJudge(model).judge([PAIR, PAIR, PAIR])  # type: ignore[arg-type]
    assert model.calls == 1
    assert len(model.prompts) == 3 * 2
    assert [v.winner for v in verdicts] == ["persona"] * 3
    # log-odds 2 -> 1 / (1 + e^-2) = 0.8808, in either order
    assert verdicts[0].persona_first == pytest.approx(0.8808, abs=1e-4)
    assert verdicts[0].persona_second == pytest.approx(0.8808, abs=1e-4)
    assert ModelJudge(model).judge([]) == []  # type: ignore[arg-type]


def test_a_preference_for_a_place_is_a_tie() -> None:
    model = Scorer(likes_four_first)
    [tie] = ModelJudge(model).judge([PAIR])  # type: ignore[arg-type]
    # First: 3 + 1 = 4 for A, the persona. Second: 3 - 1 = 2 for A, the neutral answer.
    assert tie.winner == "tie"
    assert tie.persona_first == pytest.approx(0.9820, abs=1e-4)
    assert tie.persona_second == pytest.approx(1 - 0.8808, abs=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        (0.1, 0.1, "persona"),
        (-0.1, -0.1, "neutral"),
        (0.1, -0.1, "tie"),
        (-0.1, 0.1, "tie"),
        (0.0, 0.0, "tie"),
        (0.0, 0.1, "tie"),
        (-0.1, 0.0, "tie"),
    ],
)
def test_the_persona_wins_only_in_both_orders(first: float, second: float, winner: str) -> None:
    assert verdict_of(first, second).winner == winner


def test_extreme_odds_do_not_overflow() -> None:
    verdict = verdict_of(5000.0, -5000.0)
    assert (verdict.winner, verdict.persona_first, verdict.persona_second) == ("tie", 1.0, 0.0)


def test_the_judge_never_hears_of_a_persona() -> None:
    [message] = judging_prompt("Q {0}", "first {x}", "second", reference="R")
    assert "persona" not in message.content.lower()
    assert all(part in message.content for part in ("Q {0}", "first {x}", "second", "R"))
    assert "orientation" not in judging_prompt("Q", "a", "b")[0].content


def test_verdicts_equal_a_plain_forward_pass(tiny: LocalModel) -> None:
    verdict = judge_pair(PAIR.question, PAIR.persona_answer, PAIR.neutral_answer, tiny)
    prompt = judging_prompt(PAIR.question, PAIR.persona_answer, PAIR.neutral_answer)
    [[a], [b]] = (tiny.score_tokens([prompt], [label]) for label in ("A", "B"))
    import math

    expected = 1 / (1 + math.exp(b[0].logprob - a[0].logprob))
    assert verdict.persona_first == pytest.approx(expected, abs=1e-4)


def test_a_program_judges() -> None:
    judge = VerifiableJudge(lambda question, answer: "4" in answer)
    same = JudgePair("q", "4", "44")
    verdicts = judge.judge([PAIR, JudgePair("q", "5", "4"), same])
    assert [v.winner for v in verdicts] == ["persona", "neutral", "tie"]
    assert [v.persona_first for v in verdicts] == [1.0, 0.0, 0.5]
    assert all(v.is_consistent for v in verdicts)


def test_metrics_of_verdicts() -> None:
    won, lost = Verdict("persona", 0.9, 0.9), Verdict("neutral", 0.1, 0.1)
    tied = Verdict("tie", 0.9, 0.1)
    verdicts = [won, won, tied, lost]
    assert win_rate(verdicts).value == (1 + 1 + 0.5 + 0) / 4
    # The tie chose the first answer in both orders, the others in one of two.
    assert first_preference(verdicts).value == (0.5 + 0.5 + 1 + 0.5) / 4
    # Winner scores 1, 1, .5, 0 against differences 4, 4, 1, -2: the same ranks.
    assert verbosity_correlation(verdicts, [9, 9, 6, 3], [5, 5, 5, 5]).value == pytest.approx(1.0)
    assert verbosity_correlation([won, won, won], [3, 2, 1], [0, 0, 0]).value is None
    with pytest.raises(InputError, match="1 verdicts, 2 persona"):
        verbosity_correlation([won], [1, 2], [1])


def test_the_check_pairs_are_balanced() -> None:
    pairs = load_check_pairs()
    assert len(pairs) == 40
    assert len({p.question for p in pairs}) == 40
    assert all(p.better != p.worse and p.why for p in pairs)
    lengths = Counter((p.level, p.better_is_longer) for p in pairs)
    assert all(lengths[level, True] == lengths[level, False] for level, _ in lengths)
    assert {level for level, _ in lengths} == {"blatant", "clear", "subtle"}
    assert len({p.category for p in pairs}) >= 8
    with pytest.raises(NotFoundError, match="nowhere"):
        load_check_pairs(load_check_pairs.__globals__["PAIRS"].parent / "nowhere.jsonl")


class Knowing:
    """A judge that says what a function of the pair says, in each order."""

    def __init__(self, odds: Callable[[JudgePair], tuple[float, float]]) -> None:
        self.odds = odds

    def judge(
        self, pairs: Sequence[JudgePair], *, cancel: threading.Event | None = None
    ) -> list[Verdict]:
        return [verdict_of(*self.odds(p)) for p in pairs]


def test_check_of_a_perfect_a_biased_and_a_wordy_judge() -> None:
    perfect = check_judge(Knowing(lambda p: (1.0, 1.0)))
    assert perfect.accuracy.value == 1.0
    assert perfect.order_consistency.value == 1.0
    assert perfect.length_preference.value == 0.5
    assert not perfect.near_chance
    assert perfect.warning == ""

    always_first = check_judge(Knowing(lambda p: (1.0, -1.0)))
    assert always_first.accuracy.value == 0.5
    assert always_first.decided.value == 0.0
    assert always_first.accuracy_when_decided.value is None
    assert always_first.first_preference.value == 1.0
    assert always_first.near_chance
    assert "a coin" in always_first.warning
    assert "shown first" in always_first.warning

    def longer(p: JudgePair) -> tuple[float, float]:
        odds = 1.0 if len(p.persona_answer) > len(p.neutral_answer) else -1.0
        return odds, odds

    wordy = check_judge(Knowing(longer))
    # The better answer is longer in 20 of 40 pairs.
    assert wordy.accuracy.value == 0.5
    assert wordy.length_preference.value == 1.0
    assert "longer answer" in wordy.warning


def test_check_of_the_embedded_model_is_measured(model: LocalModel) -> None:
    pairs = load_check_pairs()[:8]
    check = check_judge(ModelJudge(model), pairs)
    assert len(check.verdicts) == 8
    assert all(0 < v.persona_first < 1 and 0 < v.persona_second < 1 for v in check.verdicts)
    one = judge_pair(pairs[3].question, pairs[3].better, pairs[3].worse, model)
    assert one.persona_first == pytest.approx(check.verdicts[3].persona_first, abs=1e-3)
    prompt = (Message("user", "x"),)
    assert model.score_choices([prompt], [("A", "B")])[0][0].tokens == 1
