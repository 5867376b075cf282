"""What an endpoint sends back, as far as it is read: every other field is passed over.

Services leave out, add and rename fields, so only those stand here that are used. One that is there
and of another kind is an error, where the official client would hand it on unseen. A piece of a
streamed answer has a `delta`, a whole answer a `message`; else they are the same.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from prism_core.models.buying.prices import Usage


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class MessagePart(_Part):
    """A message or the next piece of one."""

    content: str | None = None
    refusal: str | None = None
    """What OpenAI's models say in place of content when they decline."""
    reasoning_content: str | None = None
    reasoning: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        """Join the texts of a content that comes as a list of parts."""
        if not isinstance(value, list):
            return value
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))


class TopToken(_Part):
    """A token that might have stood there."""

    token: str
    logprob: float = Field(allow_inf_nan=False)


class TokenPlace(TopToken):
    """A token of the answer, with what else might have stood there."""

    top_logprobs: list[TopToken] | None = None


class Logprobs(_Part):
    """Log-probabilities of an answer."""

    content: list[TokenPlace] | None = None


class Choice(_Part):
    """An answer or a piece of one."""

    delta: MessagePart | None = None
    message: MessagePart | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class _Details(_Part):
    reasoning_tokens: int | None = None


class Counted(_Part):
    """Tokens as the provider counts them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: _Details | None = None

    @property
    def usage(self) -> Usage | None:
        """The same as a value; None where an answer's tokens are not there."""
        if self.completion_tokens is None:
            return None
        details = self.completion_tokens_details
        thoughts = (details.reasoning_tokens or 0) if details else 0
        return Usage(self.prompt_tokens or 0, self.completion_tokens, thoughts)


class PromptToken(_Part):
    """A token of the prompt, as vLLM reports it."""

    logprob: float
    decoded_token: str | None = None


class Reply(_Part):
    """A reply to a chat request, or a piece of one."""

    choices: list[Choice] | None = None
    counted: Counted | None = Field(None, alias="usage")
    prompt_logprobs: list[dict[str, PromptToken] | None] | None = None

    @property
    def usage(self) -> Usage | None:
        """The tokens as the provider counted them; None where it did not."""
        return self.counted.usage if self.counted else None


END = Reply.model_validate({})
"""Follows the pieces of an answer where the connection itself tells that none is missing."""
