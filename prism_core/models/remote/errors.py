"""What went wrong at an endpoint: one true sentence that quotes the provider.

What may pass becomes a `PassingError`, whose kind says how to go on; all else an `EndpointError`.
No sentence holds a key, even where the provider repeats it.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Literal

import openai

from prism_core.errors import Failure, PassingError, RemoteError
from prism_core.models.remote.endpoint import UNNAMED, Endpoint

Trouble = Literal["key", "credit", "model", "refused", "filtered", "protocol"]
LONGEST_QUOTE = 200
_LONGEST_WAIT = 3600.0
_FAILURES: Mapping[int, Failure] = {
    **dict.fromkeys((425, 429), "limited"),
    **dict.fromkeys((502, 503, 504, 529), "away"),
    408: "lost",
    409: "failed",
}
_NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")
"""What the HTTP library raises where no request has left."""


class EndpointError(RemoteError):
    """An endpoint refused a request, and would refuse it again."""

    def __init__(self, sentence: str, trouble: Trouble, status: int | None = None) -> None:
        """Keep the sentence for people, what kind of trouble it is, and the HTTP status."""
        super().__init__(sentence)
        self.trouble, self.status = trouble, status


def explain(
    error: openai.OpenAIError, endpoint: Endpoint, model: str, key: str, *, has_begun: bool = False
) -> RemoteError:
    """Put an error of the provider or the network into a sentence for people.

    Args:
        error: what the client raised.
        endpoint: who was asked.
        model: for which model.
        key: what no sentence may hold.
        has_begun: whether the reply had begun.
    """
    said = quoted(_told(error), key)
    told = f": {said}" if said else "."
    host, where = endpoint.host, _where(endpoint)
    if isinstance(error, openai.APIConnectionError):
        return _network(error, endpoint, said, has_begun)
    if not isinstance(error, openai.APIStatusError):
        return PassingError(f"{host} broke off{told}", "lost")
    status, code = error.status_code, str(error.code or "")
    trouble = _trouble(status, code, said)
    if trouble is None:
        kind = _FAILURES.get(status, "failed")
        words = f"failed with status {status}"
        if kind == "limited":
            words = f"is busy, or a limit is reached (status {status})"
        return PassingError(f"{host} {words}{told}", kind, _retry_after(error))
    sentences: dict[Trouble, str] = {
        "key": f"{host} refused the key. Check {endpoint.key_variable or 'key_variable'}. It said",
        "credit": f"{host} says that the account has no credit left",
        "filtered": f"{host} stopped the request by its content filter",
        "model": f"{host} does not know the model {model!r}, or {where} is not its API address "
        "(it usually ends in /v1). It said",
        "refused": f"{host} refused the request",
    }
    return EndpointError(f"{sentences[trouble]}{told}", trouble, status)


def quoted(text: str, key: str) -> str:
    """Return what was said on one line, cut short, without the key if the server repeated it."""
    text = text.replace(key, "[key]") if key else text
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


def _network(
    error: openai.APIConnectionError, endpoint: Endpoint, said: str, has_begun: bool
) -> PassingError:
    host = endpoint.host
    kind: Failure = "away" if type(error.__cause__).__name__ in _NOT_SENT else "lost"
    if isinstance(error, openai.APITimeoutError):
        return PassingError(f"{host} did not answer in time ({endpoint.timeout:g} s).", kind)
    if has_begun:
        return PassingError(f"{host} broke off in the middle of an answer: {said}", "lost")
    if kind == "lost":
        return PassingError(f"{host} closed the connection without an answer: {said}", kind)
    where = _where(endpoint)
    return PassingError(
        f"{host} cannot be reached. Is the server running, and is {where} right? ({said})", kind
    )


def _told(error: Exception) -> str:
    """Return the provider's own words, in any of the forms that services use."""
    body = getattr(error, "body", None)
    if isinstance(body, list) and body:  # Gemini wraps its errors in a list
        body = body[0]
    for _ in range(2):  # OpenAI's form, FastAPI's, and an error within an error
        if isinstance(body, Mapping):
            body = body.get("message") or body.get("detail") or body.get("error")
    if isinstance(body, str) and body.strip():
        return body
    if body:
        return str(body)
    if isinstance(error, openai.APIConnectionError) and error.__cause__ is not None:
        return str(error.__cause__)
    return str(error)


def _trouble(status: int, code: str, said: str) -> Trouble | None:
    """Return what kind of refusal it is; None where it may pass."""
    if "content_filter" in code or "content_policy" in code:
        return "filtered"
    if status == 402 or (status == 429 and "insufficient_quota" in f"{code} {said}"):
        return "credit"
    if status in (401, 403):
        return "key"
    if status == 404:
        return "model"
    passes = status in _FAILURES or (status >= 500 and status != 501)
    return None if passes else "refused"


def _where(endpoint: Endpoint) -> str:
    """Say where a person looks the address up."""
    if endpoint.name == UNNAMED:
        return "PRISM_REMOTE_URL"
    return f"base_url of '{endpoint.name}' ({endpoint.base_url})"


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Return the seconds that the provider asks to wait, in any of the three forms."""
    headers = error.response.headers
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = str(headers.get(name, "")).strip()
        try:
            seconds = float(value) * unit
        except ValueError:
            at = email.utils.parsedate_tz(value)
            if at is None:
                continue
            seconds = email.utils.mktime_tz(at) - time.time()
        if seconds == seconds:  # not NaN
            return min(max(seconds, 0.0), _LONGEST_WAIT)
    return None
