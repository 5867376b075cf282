"""What a model makes of an item's choices, and which one it takes; see `choice_scoring`.

Each way of asking is a measure of its own: numbers of different ways are never compared, so all
cells of a model are measured in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from prism_core.errors import InputError
from prism_core.types import GateReading

Way = Literal["letters", "cloze", "first_token", "written"]
WAYS: tuple[Way, ...] = get_args(Way)
MEANING: Mapping[Way, str] = {
    "letters": "by letter",
    "cloze": "by log-likelihood (cloze)",
    "first_token": "by the letters among the likeliest first tokens",
    "written": "by the letter that the model writes",
}
"""What a way is called, for people."""


@dataclass(frozen=True)
class ChoiceScores:
    """What a model makes of the choices of one item."""

    logprobs: tuple[float, ...]
    """Sum of log p over the tokens of each choice (or its letter), in nats; empty where it named
    none of the letters."""
    tokens: tuple[int, ...]
    """Tokens of each choice (or its letter)."""
    prompt_tokens: int = 0
    """Tokens of the prompt; 0 where the model does not tell."""
    gate: GateReading | None = None


def normalised(scores: ChoiceScores, scoring: Way) -> tuple[float, ...]:
    """Return the score of each choice: log p, per token in cloze."""
    if scoring != "cloze":
        return scores.logprobs
    return tuple(p / n for p, n in zip(scores.logprobs, scores.tokens, strict=True))


def picked(scores: ChoiceScores, scoring: Way) -> int | None:
    """Return the index of the choice the model takes, the first of equals; None without scores."""
    values = normalised(scores, scoring)
    return values.index(max(values)) if values else None


def p_right(scores: ChoiceScores, scoring: Way, answer: int | None) -> float | None:
    """Return the probability of the right choice: the softmax over the scores, if there are any.

    Raises:
        InputError: there is no such choice.
    """
    values = normalised(scores, scoring)
    if not values:
        return None
    if answer is None or not 0 <= answer < len(values):
        raise InputError(f"Choice {answer} does not exist; there are {len(values)}.")
    top = max(values)
    weights = [math.exp(v - top) for v in values]
    return weights[answer] / sum(weights)
