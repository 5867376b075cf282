"""A generator that says what a function tells it to, for tests of parsing, order and resuming."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from prism_core.errors import CancelledError
from prism_core.models.generator import BaseGenerator, Request
from prism_core.types import ChoiceScore, Completion, Prompt

Speech = Callable[[Prompt, int], str]
"""What is said to a prompt with a seed."""


class Scripted(BaseGenerator):
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

    def answer(
        self, requests: Sequence[Request], *, cancel: threading.Event | None = None
    ) -> Iterator[list[Completion]]:
        if not requests:
            return
        self._count(len(requests))
        texts = [self.speech(r.prompt, r.seed) for r in requests]
        if self.cancel_at == len(self.calls) and cancel is not None:
            cancel.set()
            yield [Completion(t[: len(t) // 2], finish="cancelled") for t in texts]
            return
        yield [Completion(t, tokens=len(t.split()), finish="stop") for t in texts]

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
