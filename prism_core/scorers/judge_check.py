"""Can this judge be trusted? Pairs whose better answer is known, judged in both orders.

The pairs are ours (`assets/judge_check.jsonl`): from blatant to subtle, the better answer longer in
half of them and shorter in the other half. A tie counts half, so a judge that follows the place of
an answer, or tosses a coin, has an accuracy of 1/2. Where the interval of the accuracy reaches 1/2,
the judge is called near chance, in plain words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prism_core.errors import InputError, NotFoundError
from prism_core.progress import Cancel
from prism_core.scorers.judges import Judge, JudgePair
from prism_core.scorers.verdicts import first_preference, order_consistency, win_rate, win_score
from prism_core.stats import mean_of, rate_of
from prism_core.types import Estimate, Verdict
from prism_core.utils.assets import ASSETS

PAIRS = ASSETS / "judge_check.jsonl"


@dataclass(frozen=True)
class CheckPair:
    """Two answers of which one is known to be better."""

    question: str
    better: str
    worse: str
    why: str
    """What makes the worse answer worse."""
    category: str
    level: str
    """How hard the difference is to see: `blatant`, `clear` or `subtle`."""

    @property
    def better_is_longer(self) -> bool:
        """Whether the better answer has more characters."""
        return len(self.better) > len(self.worse)


@dataclass(frozen=True)
class JudgeCheck:
    """What the check found about a judge."""

    accuracy: Estimate
    """Mean score over the pairs: 1 right, 1/2 undecided, 0 wrong; chance is 1/2."""
    decided: Estimate
    accuracy_when_decided: Estimate
    """Share of right verdicts among those with a winner; undefined where there is none."""
    order_consistency: Estimate
    """Share of the pairs in which both orders chose the same answer."""
    first_preference: Estimate
    """How often it chose the answer shown first; 1/2 is even-handed."""
    length_preference: Estimate
    """Mean score of the longer answer; 1/2 is even-handed, since the pairs are balanced."""
    near_chance: bool
    warning: str
    """What to beware of, as plain sentences; empty where there is nothing."""
    verdicts: tuple[Verdict, ...]
    """The verdicts, in the order of the pairs; `persona` stands for the better answer."""


def load_check_pairs(path: Path = PAIRS) -> tuple[CheckPair, ...]:
    """Read the pairs with a known better answer.

    Raises:
        NotFoundError: there is no such file.
        InputError: a line is not a pair; the message gives its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file of check pairs at '{path}'.") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            pairs.append(CheckPair(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path.name}, line {number}: not a check pair ({error}).") from error
    return tuple(pairs)


def check_judge(
    judge: Judge, pairs: Sequence[CheckPair] | None = None, *, cancel: Cancel = None
) -> JudgeCheck:
    """Let a judge decide pairs whose better answer is known; None takes the shipped ones."""
    pairs = load_check_pairs() if pairs is None else pairs
    asked = [JudgePair(p.question, p.better, p.worse) for p in pairs]
    verdicts = judge.judge(asked, cancel=cancel)
    right = [v.winner == "persona" for v in verdicts if v.winner != "tie"]
    accuracy, first = win_rate(verdicts), first_preference(verdicts)
    longer = [
        win_score(v) if p.better_is_longer else 1 - win_score(v)
        for p, v in zip(pairs, verdicts, strict=True)
    ]
    length = mean_of(longer, bounds=(0.0, 1.0))
    near_chance = accuracy.low is None or accuracy.low <= 0.5
    return JudgeCheck(
        accuracy=accuracy,
        decided=rate_of([v.winner != "tie" for v in verdicts]),
        accuracy_when_decided=rate_of(right),
        order_consistency=order_consistency(verdicts),
        first_preference=first,
        length_preference=length,
        near_chance=near_chance,
        warning=_warning(accuracy, near_chance, first, length),
        verdicts=tuple(verdicts),
    )


def _warning(accuracy: Estimate, near_chance: bool, first: Estimate, length: Estimate) -> str:
    """Say in plain sentences what the intervals show, if anything."""
    sentences = []
    if near_chance and accuracy.value is not None:
        sentences.append(
            f"On {accuracy.n} pairs with a known better answer this judge scored "
            f"{accuracy.value:.0%}, which is not clearly better than a coin (50%). "
            "Do not rely on its verdicts."
        )
    for what, other, found in (
        ("the answer shown first", "the answer shown second", first),
        ("the longer answer", "the shorter answer", length),
    ):
        if found.value is None or found.low is None or found.high is None:
            continue
        share = max(found.value, 1 - found.value)
        if found.low > 0.5 or found.high < 0.5:
            preferred = what if found.low > 0.5 else other
            sentences.append(f"It prefers {preferred}, whatever it says ({share:.0%} of the time).")
    return " ".join(sentences)
