"""What every model looks like from the outside.

A `Generator` answers prompts, streams answers, and scores given choices. Local, gated and remote
models all are one, so that nobody asks which they hold. What only some models can do is a second,
smaller protocol. A class that implements a protocol documents only what it does otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from prism_core.errors import InputError
from prism_core.progress import Cancel
from prism_core.types import ChoiceScore, Completion, Prompt, Sampling, TokenScore

Prompts = Sequence[Prompt]
Seed = int | Sequence[int]
"""One seed for every row, or one a row. A row's text depends on its own seed alone."""


@runtime_checkable
class Generator(Protocol):
    """A language model that answers prompts."""

    @property
    def name(self) -> str:
        """The model's name as shown to people."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever weights, adapter or chat template do; part of every cache key."""

    @property
    def has_system_role(self) -> bool:
        """Whether the chat template takes a system turn and shows it to the model."""

    def generate(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> list[Completion]:
        """Answer every prompt; the result has the order of `prompts`.

        Rows that `cancel` cuts short finish as `cancelled`.

        Raises:
            InputError: a prompt is empty or too long for the model, or a setting is out of range.
        """

    def stream(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Yield all rows' answers so far, after every token; the last yield is complete."""

    def score_choices(
        self, prompts: Prompts, choices: Sequence[Sequence[str]], *, cancel: Cancel = None
    ) -> list[list[ChoiceScore]]:
        """Return the log-likelihood of each choice as the start of the answer to its prompt.

        Raises:
            InputError: a choice is empty, or a prompt is too long.
            ModelError: the model cannot score choices.
            CancelledError: `cancel` was set.
        """


@runtime_checkable
class TokenScorer(Protocol):
    """A model that can say how probable a given text was, token by token."""

    def score_tokens(self, prompts: Prompts, answers: Sequence[str]) -> list[list[TokenScore]]:
        """Return log p(token | prompt, earlier tokens) of each given answer, by teacher forcing.

        Raises:
            InputError: an answer is empty, or too long together with its prompt.
        """


def seeds_of(seed: Seed, rows: int) -> list[int]:
    """Return one seed a row.

    Raises:
        InputError: there are not as many seeds as rows.
    """
    seeds = [seed] * rows if isinstance(seed, int) else list(seed)
    if len(seeds) != rows:
        raise InputError(f"{rows} prompts need as many seeds; {len(seeds)} were given.")
    return seeds


def check_choices(choices: Sequence[Sequence[str]]) -> None:
    """Refuse rows without choices, and choices without text.

    Raises:
        InputError: quotes the row.
    """
    for row in choices:
        if not row or not all(choice.strip() for choice in row):
            raise InputError(f"A choice is empty: {list(row)!r}. Every choice needs text.")
