"""What a model makes of an item's choices, and which one it takes; see `choice_scoring`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from prism_core.errors import InputError
from prism_core.types import GateReading

Way = Literal["letters", "cloze"]
WAYS: tuple[Way, ...] = get_args(Way)


@dataclass(frozen=True)
class ChoiceScores:
    """What a model makes of the choices of one item."""

    logprobs: tuple[float, ...]
    """Sum of log p over the tokens of each choice (or its letter), in nats."""
    tokens: tuple[int, ...]
    """Tokens of each choice (or its letter)."""
    prompt_tokens: int = 0
    """Tokens of the prompt; 0 where the model does not tell."""
    gate: GateReading | None = None


def normalised(scores: ChoiceScores, scoring: Way) -> tuple[float, ...]:
    """Return the score of each choice: log p, per token in cloze."""
    if scoring == "letters":
        return scores.logprobs
    return tuple(p / n for p, n in zip(scores.logprobs, scores.tokens, strict=True))


def picked(scores: ChoiceScores, scoring: Way) -> int:
    """Return the index of the choice the model takes; the first of equals."""
    values = normalised(scores, scoring)
    return values.index(max(values))


def p_right(scores: ChoiceScores, scoring: Way, answer: int | None) -> float:
    """Return the probability of the right choice: the softmax over the scores.

    Raises:
        InputError: there is no such choice.
    """
    values = normalised(scores, scoring)
    if answer is None or not 0 <= answer < len(values):
        raise InputError(f"Choice {answer} does not exist; there are {len(values)}.")
    top = max(values)
    weights = [math.exp(v - top) for v in values]
    return weights[answer] / sum(weights)
