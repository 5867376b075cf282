"""What a remote endpoint sends back: an answer in pieces.

Thoughts come in `<think>` tags within the text or in a field of their own (`reasoning_content`,
`reasoning`), depending on the server; both end in the completion's thought.
"""

from __future__ import annotations

import time

from openai.types.chat import ChatCompletionChunk

from prism_core.models.thoughts import split_thought
from prism_core.types import Completion, Finish


class RemoteAnswer:
    """One row while it grows; lives in its thread alone.

    `finish` is None until the server has said why the answer ended.
    """

    def __init__(self, start: float) -> None:
        self.finish: Finish | None = None
        self._start = start
        self._text = self._reasoning = ""
        self._pieces = self._prompt_tokens = 0
        self._tokens: int | None = None
        self._first: float | None = None
        self._last = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether any text has come."""
        return self._first is not None

    def take(self, chunk: ChatCompletionChunk) -> bool:
        """Add one chunk; return whether there is something new to show."""
        if chunk.usage is not None:
            self._prompt_tokens = chunk.usage.prompt_tokens or 0
            self._tokens = chunk.usage.completion_tokens
        if not chunk.choices:
            return False
        choice = chunk.choices[0]
        if choice.finish_reason is not None:
            self.finish = "length" if choice.finish_reason == "length" else "stop"
        if choice.delta is None:
            return False
        more = choice.delta.model_extra or {}
        reasoning = more.get("reasoning_content") or more.get("reasoning") or ""
        content = choice.delta.content or ""
        if not content and not reasoning:
            return False
        self._text += content
        self._reasoning += str(reasoning)
        self._pieces += 1
        self._last = time.perf_counter() - self._start
        self._first = self._last if self._first is None else self._first
        return True

    def completion(self, finish: Finish) -> Completion:
        """Return the row as a value; tokens are the server's count, or pieces until it is known."""
        thought, text = split_thought(self._text)
        return Completion(
            text=text if finish == "running" else text.strip(),
            thought="\n\n".join(part for part in (self._reasoning.strip(), thought) if part),
            prompt_tokens=self._prompt_tokens,
            tokens=self._pieces if self._tokens is None else self._tokens,
            first_token_seconds=self._first,
            seconds=self._last,
            finish=finish,
        )
