"""What every model looks like from the outside.

A `Generator` answers requests and scores given choices. Local, gated, cached and remote models all
are one, so that nobody asks which they hold; each derives from `BaseGenerator` and writes `answer`
alone. What only some models can do is a second, smaller protocol. What implements a protocol
documents only what it does otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from prism_core.errors import InputError
from prism_core.progress import Cancel
from prism_core.types import ChoiceScore, Completion, Prompt, Sampling, TokenScore

if TYPE_CHECKING:
    from prism_core.lora.weights import LoraWeights  # which needs torch, and a page does not

Prompts = Sequence[Prompt]
Seed = int | Sequence[int]
"""One seed for every row, or one a row. A row's text depends on its own seed alone."""


@dataclass(frozen=True, eq=False)
class Request:
    """One prompt, and how it is to be answered.

    Requests answered together need have nothing in common, not even the adapter (as vLLM's
    `lora_request` and PEFT's `adapter_names`).
    """

    prompt: Prompt
    sampling: Sampling
    seed: int = 0
    adapter: LoraWeights | None = None
    """What is put on the base model for this answer; only a model on this machine takes one."""
    owner: str = ""
    """Whose turn it is: owners share the engine evenly. Empty stands for this call alone."""


@runtime_checkable
class Generator(Protocol):
    """A language model that answers requests."""

    @property
    def name(self) -> str:
        """The model's name as shown to people."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever weights, adapter or chat template do; part of every cache key."""

    @property
    def has_system_role(self) -> bool:
        """Whether the chat template takes a system turn and shows it to the model."""

    def answer(
        self, requests: Sequence[Request], *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far, in the order of `requests`; the last yield is complete.

        Requests that `cancel` cuts short finish as `cancelled`.

        Raises:
            InputError: a prompt is empty or too long for the model, or a setting is out of range.
        """

    def stream(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far to prompts that are sampled alike. See `answer`."""

    def generate(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> list[Completion]:
        """Return the whole answers to prompts that are sampled alike. See `answer`."""

    def score_choices(
        self, prompts: Prompts, choices: Sequence[Sequence[str]], *, cancel: Cancel = None
    ) -> list[list[ChoiceScore]]:
        """Return the log-likelihood of each choice as the start of the answer to its prompt.

        Raises:
            InputError: a choice is empty, or a prompt is too long.
            ModelError: the model cannot score choices.
            CancelledError: `cancel` was set.
        """


class BaseGenerator(ABC):
    """What every `Generator` has once it can `answer`."""

    @abstractmethod
    def answer(
        self, requests: Sequence[Request], *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far. See `Generator.answer`."""

    def stream(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far to prompts that are sampled alike. See `answer`."""
        return self.answer(requests_of(prompts, sampling, seed), cancel=cancel)

    def generate(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> list[Completion]:
        """Return the whole answers to prompts that are sampled alike. See `answer`."""
        return last_of(self.stream(prompts, sampling, seed, cancel=cancel))


@runtime_checkable
class TokenScorer(Protocol):
    """A model that can say how probable a given text was, token by token."""

    def score_tokens(self, prompts: Prompts, answers: Sequence[str]) -> list[list[TokenScore]]:
        """Return log p(token | prompt, earlier tokens) of each given answer, by teacher forcing.

        Raises:
            InputError: an answer is empty, or too long together with its prompt.
        """


def last_of(answers: Iterator[list[Completion]]) -> list[Completion]:
    """Return what a stream of answers yields last."""
    last: list[Completion] = []
    for snapshot in answers:
        last = snapshot
    return last


def requests_of(prompts: Prompts, sampling: Sampling, seed: Seed = 0) -> list[Request]:
    """Make requests of prompts that are sampled alike.

    Raises:
        InputError: there are not as many seeds as prompts.
    """
    seeds = seeds_of(seed, len(prompts))
    return [Request(p, sampling, s) for p, s in zip(prompts, seeds, strict=True)]


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
