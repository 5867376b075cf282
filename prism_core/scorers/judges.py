"""Which of two answers is better (PRISM, verification stage).

1. A judge sees the question and two answers, A and B, and never hears of a persona.
2. Its preference is the probability of label A against B as the first token: nothing is decoded.
3. It judges both orders; the persona wins only if its answer is chosen in both (the paper's rule).

Small models favour a place whatever stands there, so under the paper's rule most verdicts are ties.
A second rule, `mean_log_odds`, averages the log-odds of both orders: a preference for a place adds
the same amount to both with opposite signs, and cancels. It decides more pairs, not better ones:
read it beside the judge check. Departure from the paper: a probability of exactly 1/2 chooses none.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from prism_core.errors import CancelledError, InputError, ModelError, RemoteError
from prism_core.models.generator import Generator
from prism_core.types import Message, Prompt, Sampling, Verdict, Winner

JudgeRule = Literal["both_orders", "mean_log_odds"]
JUDGE_RULES: tuple[JudgeRule, ...] = get_args(JudgeRule)
LABELS = ("A", "B")
RATINGS = ("Yes", "No")

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
_RATING = """Question: {question}
{reference}Answer: {answer}

Is this answer correct and helpful? Reply Yes or No."""
_REFERENCE = """
A correct answer, for orientation:
{reference}
"""
_LABEL = re.compile(
    r"\W*(?:(?:[Tt]he )?(?:better )?[Aa]nswer(?: is)?\W*)?([AB])(?=\W*$|\W*[\n.,:;)*])"
)
_LABEL_TOKENS = 16
_CERTAIN = 50.0
"""Log-odds of a label read from decoded text, where no probability is known."""


@dataclass(frozen=True)
class JudgePair:
    """Two answers to one question."""

    question: str
    """What was asked."""
    persona_answer: str
    """The answer given with the persona."""
    neutral_answer: str
    """The answer given without."""
    reference: str | None = None
    """A correct answer, if one is known."""


class Judge(Protocol):
    """Compares answers."""

    def judge(
        self, pairs: Sequence[JudgePair], *, cancel: threading.Event | None = None
    ) -> list[Verdict]:
        """One verdict a pair, in the order given."""


def judging_prompt(question: str, first: str, second: str, reference: str | None = None) -> Prompt:
    """What a judge reads; the answer to be written is a single letter."""
    given = _REFERENCE.format(reference=reference.strip()) if reference else ""
    text = _QUESTION.format(
        question=question.strip(), reference=given, first=first.strip(), second=second.strip()
    )
    return (Message("user", text),)


def rating_prompt(question: str, answer: str, reference: str | None = None) -> Prompt:
    """What a judge reads that rates one answer; Yes or No is to be written."""
    given = _REFERENCE.format(reference=reference.strip()) if reference else ""
    text = _RATING.format(question=question.strip(), reference=given, answer=answer.strip())
    return (Message("user", text),)


def verdict_of(first: float, second: float, rule: JudgeRule = "both_orders") -> Verdict:
    """The verdict that follows from one preference an order.

    Args:
        first: log-odds for the persona's answer when it is shown first.
        second: the same when it is shown second.
        rule: the paper's, or the mean of both.
    """
    if rule == "mean_log_odds":
        mean = first + second
        winner: Winner = "persona" if mean > 0 else "neutral" if mean < 0 else "tie"
    else:
        winner = _both(first, second)
    return Verdict(winner, _probability(first), _probability(second))


def _both(first: float, second: float) -> Winner:
    if first > 0 and second > 0:
        return "persona"
    return "neutral" if first < 0 and second < 0 else "tie"


def _probability(log_odds: float) -> float:
    if log_odds < 0:  # keeps exp() from overflowing
        return math.exp(log_odds) / (1 + math.exp(log_odds))
    return 1 / (1 + math.exp(-log_odds))


class ModelJudge:
    """A model as judge, by the log-probabilities of the two labels."""

    def __init__(self, model: Generator, rule: JudgeRule = "both_orders") -> None:
        if rule not in JUDGE_RULES:
            raise InputError(f"There is no rule '{rule}'; choose one of {', '.join(JUDGE_RULES)}.")
        self.model = model
        self.rule: JudgeRule = rule

    def judge(
        self, pairs: Sequence[JudgePair], *, cancel: threading.Event | None = None
    ) -> list[Verdict]:
        """Judge all pairs in both orders as one call.

        Raises:
            InputError: a pair is too long for the model.
            CancelledError: `cancel` was set.
        """
        prompts = []
        for p in pairs:
            persona, neutral = p.persona_answer, p.neutral_answer
            prompts.append(judging_prompt(p.question, persona, neutral, p.reference))
            prompts.append(judging_prompt(p.question, neutral, persona, p.reference))
        if not prompts:
            return []
        odds = self._log_odds(prompts, cancel)
        return [
            # In the second order the persona's answer is B.
            verdict_of(odds[i], -odds[i + 1], self.rule)
            for i in range(0, len(odds), 2)
        ]

    def _log_odds(self, prompts: list[Prompt], cancel: threading.Event | None) -> list[float]:
        """Log-odds of A against B for each prompt."""
        scores = self.model.score_choices(prompts, [LABELS] * len(prompts), cancel=cancel)
        return [a.logprob - b.logprob for a, b in scores]


class PointwiseJudge:
    """A model that rates each answer alone, by the probability of Yes against No.

    It sees one answer at a time, so it cannot favour a place: both orders are the same by
    construction. Rating alone is known to reward length and a confident tone (PRISM found that it
    preferred a persona whose mathematics got worse), so it is never the default.
    """

    def __init__(self, model: Generator) -> None:
        self.model = model

    def judge(
        self, pairs: Sequence[JudgePair], *, cancel: threading.Event | None = None
    ) -> list[Verdict]:
        """Rate both answers of every pair as one call; the higher rating wins.

        Raises:
            InputError: an answer is too long for the model.
            CancelledError: `cancel` was set.
        """
        prompts = []
        for p in pairs:
            prompts.append(rating_prompt(p.question, p.persona_answer, p.reference))
            prompts.append(rating_prompt(p.question, p.neutral_answer, p.reference))
        if not prompts:
            return []
        scores = self.model.score_choices(prompts, [RATINGS] * len(prompts), cancel=cancel)
        odds = [yes.logprob - no.logprob for yes, no in scores]
        gaps = [odds[i] - odds[i + 1] for i in range(0, len(odds), 2)]
        return [verdict_of(gap, gap) for gap in gaps]


class RemoteJudge(ModelJudge):
    """A remote model as judge: by log-probabilities where it gives them, else by its answer."""

    def _log_odds(self, prompts: list[Prompt], cancel: threading.Event | None) -> list[float]:
        try:
            return super()._log_odds(prompts, cancel)
        except RemoteError:
            raise  # the endpoint failed: asking it in another way would hide that
        except ModelError:
            sampling = Sampling(max_new_tokens=_LABEL_TOKENS)
            answers = self.model.generate(prompts, sampling, cancel=cancel)
            if cancel is not None and cancel.is_set():
                raise CancelledError("judging was stopped on request") from None
            return [label_log_odds(a.text) for a in answers]


def label_log_odds(text: str) -> float:
    """Preference in a decoded answer: certain of A or of B, or 0 where no label can be read."""
    found = _LABEL.match(text)
    if found is None:
        return 0.0
    return _CERTAIN if found.group(1) == "A" else -_CERTAIN


class VerifiableJudge:
    """A program as judge: the persona wins where only its answer passes the check."""

    def __init__(self, check: Callable[[str, str], bool]) -> None:
        self.check = check

    def judge(
        self, pairs: Sequence[JudgePair], *, cancel: threading.Event | None = None
    ) -> list[Verdict]:
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
    """One verdict by a model, under the paper's rule."""
    return ModelJudge(model).judge([JudgePair(question, persona_answer, neutral_answer)])[0]
