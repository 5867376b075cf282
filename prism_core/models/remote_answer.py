"""What a remote endpoint sends back: an answer in pieces, or an error.

Thoughts come in `<think>` tags within the text or in a field of their own (`reasoning_content`,
`reasoning`), depending on the server; both end in the completion's thought. An error becomes one
plain sentence without the key.
"""

from __future__ import annotations

import time

import openai
from openai.types.chat import ChatCompletionChunk

from prism_core.errors import RemoteError
from prism_core.models.thoughts import split_thought
from prism_core.types import Completion, Finish

LONGEST_QUOTE = 200


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


def explain(
    error: openai.OpenAIError, host: str, model: str, key: str, *, has_begun: bool = False
) -> RemoteError:
    """Put an error of the endpoint or the network into a sentence for people."""
    return RemoteError(_sentence(error, host, model, _quote(error, key), has_begun))


def _sentence(error: Exception, host: str, model: str, said: str, has_begun: bool) -> str:
    if isinstance(error, openai.APITimeoutError):
        return f"{host} did not answer in time."
    if isinstance(error, openai.APIConnectionError):
        if has_begun:
            return f"{host} broke off in the middle of an answer."
        return f"{host} cannot be reached. Is the server running, and is PRISM_REMOTE_URL right?"
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return f"{host} refused the key. Check PRISM_REMOTE_KEY."
    if isinstance(error, openai.NotFoundError):
        return (
            f"{host} does not know the model {model!r}, or PRISM_REMOTE_URL is not its API address "
            "(it usually ends in /v1)."
        )
    if isinstance(error, openai.RateLimitError):
        return f"{host} is busy, or the account's limit is used up. Try again later."
    if isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
        return f"{host} refused the request: {said}"
    if isinstance(error, openai.APIStatusError):
        return f"{host} failed with status {error.status_code}: {said}"
    return f"{host} broke off: {said}"


def _quote(error: Exception, key: str) -> str:
    """Quote what was said on one line, cut short, without the key if the server repeated it."""
    text = str(error)
    body = getattr(error, "body", None)
    if isinstance(body, dict):  # OpenAI's own form, and FastAPI's
        text = str(body.get("message") or body.get("detail") or text)
    text = text.replace(key, "[key]") if key else text
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."
