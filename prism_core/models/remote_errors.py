"""Turn what a remote endpoint or the network said into one plain sentence without the key."""

from __future__ import annotations

import openai

from prism_core.errors import RemoteError

LONGEST_QUOTE = 200


def explain(
    error: openai.OpenAIError, host: str, model: str, key: str, *, has_begun: bool = False
) -> RemoteError:
    """The sentence for a person, with what the server said where that helps."""
    said = _quote(error, key)
    return RemoteError(_sentence(error, host, model, said, has_begun))


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
    """What was said, on one line and not too long, without the key if the server repeated it."""
    text = str(error)
    body = getattr(error, "body", None)
    if isinstance(body, dict):  # OpenAI's own form, and FastAPI's
        text = str(body.get("message") or body.get("detail") or text)
    text = text.replace(key, "[key]") if key else text
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."
