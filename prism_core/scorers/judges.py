"""Which of two answers is better (PRISM, verification stage).

1. A judge sees the question and two answers, A and B, and never hears of a persona.
2. Its preference is the probability of label A against B as the first token: nothing is decoded.
3. It judges both orders; the persona wins only if its answer is chosen in both (the paper's rule).

Small models favour a place whatever stands there, so most of their verdicts are ties. Departure
from the paper: a probability of exactly 1/2 chooses none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from prism_core.models.generator import Generator
from prism_core.progress import Cancel
from prism_core.types import Message, Prompt, Verdict, Winner

JudgeRule = Literal["both_orders"]
"""The name of the paper's rule in the settings and keys that verdicts are stored under."""
LABELS = ("A", "B")

_QUESTION = """Compare two answers to the same request. Prefer the answer that is correct, does \
what the request asks for, and is clear. Neither its length nor its place counts.

Request:
{question}
{reference}
Answer A:
{first}

Answer B:
{second}

Which answer is better? Reply with the single letter A or B."""
_REFERENCE = """
A correct answer, for orientation:
{reference}
"""


@dataclass(frozen=True)
class JudgePair:
    """Two answers to one question."""

    question: str
    persona_answer: str
    neutral_answer: str
    reference: str | None = None
    """A correct answer, if one is known."""


class Judge(Protocol):
    """Compares answers."""

    def judge(self, pairs: Sequence[JudgePair], *, cancel: Cancel = None) -> list[Verdict]:
        """Return one verdict a pair, in the order given.

        Raises:
            InputError: a pair is too long for the judge.
            CancelledError: `cancel` was set.
        """


def judging_prompt(question: str, first: str, second: str, reference: str | None = None) -> Prompt:
    """Write what a judge reads; the answer to be written is a single letter."""
    given = _REFERENCE.format(reference=reference.strip()) if reference else ""
    text = _QUESTION.format(
        question=question.strip(), reference=given, first=first.strip(), second=second.strip()
    )
    return (Message("user", text),)


def verdict_of(first: float, second: float) -> Verdict:
    """Decide by the log-odds for the persona's answer where it is shown first, and second."""
    winner: Winner = "tie"
    if first > 0 and second > 0:
        winner = "persona"
    elif first < 0 and second < 0:
        winner = "neutral"
    return Verdict(winner, _probability(first), _probability(second))


def _probability(log_odds: float) -> float:
    if log_odds < 0:  # keeps exp() from overflowing
        return math.exp(log_odds) / (1 + math.exp(log_odds))
    return 1 / (1 + math.exp(-log_odds))


class ModelJudge:
    """A model as judge, by the log-probabilities of the two labels."""

    rule: JudgeRule = "both_orders"

    def __init__(self, model: Generator) -> None:
        self.model = model

    def judge(self, pairs: Sequence[JudgePair], *, cancel: Cancel = None) -> list[Verdict]:
        """Judge all pairs in both orders as one call."""
        prompts = []
        for p in pairs:
            persona, neutral = p.persona_answer, p.neutral_answer
            prompts.append(judging_prompt(p.question, persona, neutral, p.reference))
            prompts.append(judging_prompt(p.question, neutral, persona, p.reference))
        odds = self._log_odds(prompts, cancel) if prompts else []
        # In the second order the persona's answer is B.
        return [verdict_of(odds[i], -odds[i + 1]) for i in range(0, len(odds), 2)]

    def _log_odds(self, prompts: list[Prompt], cancel: Cancel) -> list[float]:
        """Return the log-odds of A against B for each prompt."""
        scores = self.model.score_choices(prompts, [LABELS] * len(prompts), cancel=cancel)
        return [a.logprob - b.logprob for a, b in scores]


class VerifiableJudge:
    """A program as judge: the persona wins where only its answer passes the check."""

    def __init__(self, check: Callable[[str, str], bool]) -> None:
        self.check = check

    def judge(self, pairs: Sequence[JudgePair], *, cancel: Cancel = None) -> list[Verdict]:
        """Check both answers of each pair; the order plays no part."""
        verdicts = []
        for p in pairs:
            persona = self.check(p.question, p.persona_answer)
            neutral = self.check(p.question, p.neutral_answer)
            odds = math.inf * (persona - neutral) if persona != neutral else 0.0
            verdicts.append(verdict_of(odds, odds))
        return verdicts


def judge_pair(
    question: str, persona_answer: str, neutral_answer: str, model: Generator
) -> Verdict:
    """Judge one pair by a model."""
    return ModelJudge(model).judge([JudgePair(question, persona_answer, neutral_answer)])[0]
