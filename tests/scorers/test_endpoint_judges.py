"""Judges at an endpoint: how a word is read, what is kept, and how far two of them agree."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from prism_core.errors import RemoteError
from prism_core.models.generator import Seed
from prism_core.scorers.agreement import agreement
from prism_core.scorers.endpoint_labels import (
    THINKING_TOKENS,
    EndpointLabels,
    token_scores,
    written_scores,
)
from prism_core.scorers.judges import JudgePair, ModelJudge
from prism_core.storage import Store
from prism_core.types import Completion, Message, Prompt, Sampling, Winner

PAIR = JudgePair("What is 2 + 2?", "It is 4.", "It is 5.")
AB = ("A", "B")


@dataclass
class Found:
    top_logprobs: int = 5
    reasons: bool = False


class Asked:
    """A model at an endpoint: it prefers the answer that says 4, whatever its place."""

    name, fingerprint, has_system_role = "asked", "asked-1", True

    def __init__(self, found: Found, text: str = "") -> None:
        self.found, self.text = found, text
        self.prompts: list[Prompt] = []
        self.tokens: list[int] = []
        self.fail_at: int | None = None
        self.guard = threading.Lock()

    def probe(self) -> Found:
        return self.found

    def first_tokens(self, prompts: Sequence[Prompt], **_: object) -> list[Mapping[str, float]]:
        self._count(prompts[0])
        first = prompts[0][0].content.partition("Answer B:")[0]
        likely, other = ("A", "B") if "It is 4." in first else ("B", "A")
        return [{likely: math.log(0.75), f" {other}": math.log(0.25)}]

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: Seed = 0, **_: object
    ) -> list[Completion]:
        self._count(prompts[0])
        self.tokens.append(sampling.max_new_tokens)
        return [Completion(self.text, finish="stop")]

    def _count(self, prompt: Prompt) -> None:
        with self.guard:
            self.prompts.append(prompt)
            if len(self.prompts) == self.fail_at:
                raise RemoteError("the endpoint broke off")


def judge(model: Asked, store: Store | None = None) -> ModelJudge:
    return ModelJudge(EndpointLabels(model, store, workers=4))  # Asked has no stream


def test_the_first_token_decides_where_it_is_reported() -> None:
    (verdict,) = judge(Asked(Found())).judge([PAIR])
    assert verdict.winner == "persona"
    assert (verdict.persona_first, verdict.persona_second) == pytest.approx((0.75, 0.75))


@pytest.mark.parametrize("found", [Found(top_logprobs=0), Found(reasons=True)])
def test_else_the_judge_writes(found: Found) -> None:
    model = Asked(found, "A")
    (verdict,) = judge(model).judge([PAIR])
    assert verdict.winner == "tie", "A in both orders is a preference for the first place"
    assert set(model.tokens) == {THINKING_TOKENS if found.reasons else 16}
    (unread,) = judge(Asked(found, "Hm.")).judge([PAIR])
    assert (unread.winner, unread.persona_first) == ("tie", 0.5)


def test_marks_are_written_since_1_begins_10() -> None:
    labels = EndpointLabels(Asked(Found(), "10"))
    marks = tuple(map(str, range(1, 11)))
    assert (labels.measure(AB), labels.measure(marks)) == ("first token", "written")
    (row,) = labels.score_choices([(Message("user", "Rate it."),)], [marks])
    assert [score.logprob for score in row] == [-50.0] * 9 + [0.0]


def test_a_judgement_that_arrived_is_not_bought_again(tmp_path: Path) -> None:
    pairs = [JudgePair(f"Question {i}?", "It is 4.", "It is 5.") for i in range(10)]
    model = Asked(Found())
    model.fail_at = 12
    with Store(f"sqlite:///{tmp_path}/s.sqlite3", home=tmp_path) as store:
        with pytest.raises(RemoteError, match="broke off"):
            judge(model, store).judge(pairs)
        before = len(model.prompts)
        verdicts = judge(model, store).judge(pairs)
        again = len(model.prompts) - before
        judge(model, store).judge(pairs)
    assert all(v.winner == "persona" for v in verdicts)
    # 20 prompts, of which the one that failed alone is asked a second time.
    assert before + again == len(model.prompts) == 21


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("A", 1),
        ("**B**", -1),
        ("Answer: B.", -1),
        ("The better answer is A", 1),
        ("Aardvark", 0),
        ("Both are fine", 0),
        ("", 0),
        ("B) because", -1),
    ],
)
def test_words_are_read_from_text_or_not_at_all(text: str, sign: int) -> None:
    a, b = written_scores(text, AB)
    assert (a > b) - (a < b) == sign


def test_a_word_that_is_not_reported_is_at_most_as_likely_as_the_last() -> None:
    found = token_scores({"A": -0.1, "The": -3.0, "\n": -4.0}, AB)
    assert found == pytest.approx([-0.1, -4.0])
    # Both spellings count: e^-1 + e^-2.
    assert token_scores({"A": -1.0, " A": -2.0}, ("A",)) == pytest.approx(
        [math.log(math.exp(-1) + math.exp(-2))]
    )


def test_agreement_is_by_item_and_beyond_chance() -> None:
    both: list[tuple[str, Winner, Winner]] = [(f"i{i}", "persona", "persona") for i in range(4)]
    both += [(f"j{i}", "neutral", "neutral") for i in range(4)]
    both += [("k", "persona", "neutral"), ("l", "neutral", "persona")]
    found = agreement(both)
    # 8 of 10 are the same; both say each word half the time: (0.8 - 0.5) / 0.5 = 0.6.
    assert found.same.value == pytest.approx(0.8) and found.same.n == 10
    assert found.kappa.value == pytest.approx(0.6)
    assert found.kappa.low is not None and found.kappa.low < 0.6 < (found.kappa.high or 0)
    # Ten repeats of one item are one item.
    repeated = agreement([*both, *[("k", "persona", "neutral")] * 9])
    assert repeated.same.n == 10 and repeated.same.value == pytest.approx(0.8)
    alike = agreement([("i", "tie", "tie"), ("j", "tie", "tie")])
    assert alike.same.value == 1.0 and alike.kappa.value is None
    assert agreement([]).same.value is None
