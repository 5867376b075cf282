"""A generator that says what a function tells it to, for tests of parsing, order and resuming."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from prism_core.errors import CancelledError
from prism_core.models.generator import Seed
from prism_core.types import ChoiceScore, Completion, Prompt, Sampling

Speech = Callable[[Prompt, int], str]
"""What is said to a prompt with a seed."""


class Scripted:
    """Counts what it was asked, and can fail or be cancelled at a given call."""

    name = "scripted"
    fingerprint = "scripted-1"
    has_system_role = True

    def __init__(self, speech: Speech, *, continues: bool = False) -> None:
        self.speech = speech
        self.continues_answers = continues
        self.calls: list[int] = []
        self.fail_at: int | None = None
        self.cancel_at: int | None = None

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
    ) -> list[Completion]:
        self._count(len(prompts))
        seeds = [seed] * len(prompts) if isinstance(seed, int) else list(seed)
        texts = [self.speech(p, s) for p, s in zip(prompts, seeds, strict=True)]
        if self.cancel_at == len(self.calls) and cancel is not None:
            cancel.set()
            return [Completion(t[: len(t) // 2], finish="cancelled") for t in texts]
        return [Completion(t, tokens=len(t.split()), finish="stop") for t in texts]

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
    ) -> Iterator[list[Completion]]:
        yield self.generate(prompts, sampling, seed, cancel=cancel)

    def score_choices(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        *,
        cancel: threading.Event | None = None,
    ) -> list[list[ChoiceScore]]:
        """Prefer the answer that has the word GOOD; where both or none do, the one shown first."""
        self._count(len(prompts))
        if self.cancel_at == len(self.calls) and cancel is not None:
            cancel.set()
            raise CancelledError("scripted")
        rows = []
        for prompt in prompts:
            first, second = prompt[-1].content.split("Answer B:")
            lead = ("GOOD" in first) - ("GOOD" in second)
            rows.append([ChoiceScore(-0.5 if lead >= 0 else -2.0, 1), ChoiceScore(-1.0, 1)])
        return rows

    def _count(self, rows: int) -> None:
        self.calls.append(rows)
        if self.fail_at == len(self.calls):
            raise RuntimeError("the machine went down")
