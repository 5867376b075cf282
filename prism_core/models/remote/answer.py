"""One answer while it grows, put together from the pieces that an endpoint sends.

Thoughts come in `<think>` tags within the text or in a field of their own (`reasoning_content`,
`reasoning`), depending on the server; both end in the completion's thought. A text with which the
model declines (`refusal`) is its answer.
"""

from __future__ import annotations

import time

from prism_core.errors import PassingError
from prism_core.models.buying.prices import Usage
from prism_core.models.remote.reply import END, MessagePart, Reply
from prism_core.models.thoughts import split_thought
from prism_core.types import Completion, Finish

_FINISHES: dict[str, Finish] = {"length": "length", "content_filter": "filtered"}
"""Every other reason is that the model had done: `stop`, `end_turn`, `eos` and more."""


class RemoteAnswer:
    """One row while it grows; lives in its thread alone.

    `finish` is None until the server has said why the answer ended, `usage` until it has counted.
    """

    def __init__(self, start: float) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self._start = start
        self._text = self._reasoning = ""
        self._pieces = 0
        self._first: float | None = None
        self._last = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether any text has come."""
        return self._first is not None

    def take(self, reply: Reply) -> bool:
        """Add one piece; return whether there is something new to show."""
        self.usage = reply.usage or self.usage
        if reply is END and self.has_begun and self.finish is None:
            self.finish = "stop"  # some servers never say why an answer ended
        if not reply.choices:
            return False
        choice = reply.choices[0]
        if choice.finish_reason is not None:
            self.finish = _FINISHES.get(choice.finish_reason, "stop")
        part = choice.delta or choice.message or MessagePart()
        reasoning = part.reasoning_content or part.reasoning or ""
        content = part.content or part.refusal or ""
        if not content and not reasoning:
            return False
        self._text += content
        self._reasoning += reasoning
        self._pieces += 1
        self._last = time.perf_counter() - self._start
        self._first = self._last if self._first is None else self._first
        return True

    def check_end(self, host: str) -> Finish:
        """Return why the answer ended.

        Raises:
            PassingError: the server never said so.
        """
        if self.finish is None:
            what = "broke off in the middle of an" if self.has_begun else "sent no"
            raise PassingError(f"{host} {what} answer.", "lost")
        return self.finish

    def completion(self, finish: Finish) -> Completion:
        """Return the row as a value; tokens are the server's count, or pieces until it is known."""
        thought, text = split_thought(self._text)
        return Completion(
            text=text if finish == "running" else text.strip(),
            thought="\n\n".join(part for part in (self._reasoning.strip(), thought) if part),
            prompt_tokens=self.usage.prompt if self.usage else 0,
            tokens=self.usage.new if self.usage else self._pieces,
            first_token_seconds=self._first,
            seconds=self._last,
            finish=finish,
            reasoning_tokens=self.usage.reasoning if self.usage else 0,
        )
