"""What every model looks like from the outside.

A `Generator` answers prompts, streams answers, and scores given choices. Local, gated and remote
models all are one, so that stages, studies and the app never ask which they hold. What only some
models can do (log-probabilities of a given text) is a second, smaller protocol.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from prism_core.types import ChoiceScore, Completion, Prompt, Sampling, TokenScore

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
        """Whether the chat template takes a system turn."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
    ) -> list[Completion]:
        """Answer every prompt; the result has the order of `prompts`.

        Raises:
            InputError: a prompt is empty or too long for the model.
        """

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
    ) -> Iterator[list[Completion]]:
        """Yield all rows' answers so far, after every token; the last yield is complete."""

    def score_choices(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        *,
        cancel: threading.Event | None = None,
    ) -> list[list[ChoiceScore]]:
        """Log-likelihood of each choice as the start of the answer to its prompt."""


@runtime_checkable
class TokenScorer(Protocol):
    """A model that can say how probable a given text was, token by token."""

    def score_tokens(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[list[TokenScore]]:
        """Log p(token | prompt, earlier tokens) of each given answer, by teacher forcing."""
