"""What went wrong at an endpoint: one true sentence that quotes the provider.

Whoever asks again needs to know whether that can help and when: `trouble`, `status` and
`retry_after` say so. No sentence holds a key, even where the provider repeats it.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Literal

import openai

from prism_core.errors import RemoteError
from prism_core.models.remote.endpoint import UNNAMED, Endpoint

Trouble = Literal[
    "key", "credit", "model", "refused", "filtered", "busy", "server", "network", "protocol"
]
PASSING: tuple[Trouble, ...] = ("busy", "server", "network")
"""Troubles that may be over when the same is asked again."""
LONGEST_QUOTE = 200
_LONGEST_WAIT = 3600.0


class EndpointError(RemoteError):
    """An endpoint refused, failed or did not answer."""

    def __init__(
        self,
        sentence: str,
        trouble: Trouble,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        parameter: str = "",
    ) -> None:
        """Keep the sentence, and what a caller may act upon.

        Args:
            sentence: for people.
            trouble: what kind of thing went wrong.
            status: of the HTTP reply, if there was one.
            retry_after: seconds after which the provider wants to be asked again.
            parameter: of the request, which the provider refused.
        """
        super().__init__(sentence)
        self.trouble, self.status = trouble, status
        self.retry_after, self.parameter = retry_after, parameter

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.trouble in PASSING


def explain(
    error: openai.OpenAIError, endpoint: Endpoint, model: str, key: str, *, has_begun: bool = False
) -> EndpointError:
    """Put an error of the provider or the network into a sentence for people."""
    said = quoted(_told(error), key)
    status = error.status_code if isinstance(error, openai.APIStatusError) else None
    trouble = _trouble(error, status, said)
    sentence = _sentence(trouble, error, endpoint, model, said, has_begun)
    body = getattr(error, "body", None)
    parameter = body.get("param") if isinstance(body, dict) else None
    return EndpointError(
        sentence,
        trouble,
        status=status,
        retry_after=_retry_after(error),
        parameter=parameter if isinstance(parameter, str) else "",
    )


def quoted(text: str, key: str) -> str:
    """Return what was said on one line, cut short, without the key if the server repeated it."""
    text = text.replace(key, "[key]") if key else text
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


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


def _trouble(error: Exception, status: int | None, said: str) -> Trouble:
    if isinstance(error, openai.APIConnectionError):
        return "network"
    if status is None:
        return "server"  # said in the middle of a stream
    code = str(getattr(error, "code", "") or "")
    if "content_filter" in code or "content_policy" in code:
        return "filtered"
    if status == 402 or (status == 429 and "insufficient_quota" in f"{code} {said}"):
        return "credit"
    if status in (401, 403):
        return "key"
    if status == 404:
        return "model"
    if status in (408, 409, 425, 429, 503, 529):
        return "busy"
    return "server" if status >= 500 and status != 501 else "refused"


def _sentence(
    trouble: Trouble, error: Exception, endpoint: Endpoint, model: str, said: str, has_begun: bool
) -> str:
    host, where = endpoint.host, _where(endpoint)
    told = f": {said}" if said else "."
    if trouble == "network":
        if isinstance(error, openai.APITimeoutError):
            return f"{host} did not answer in time ({endpoint.timeout:g} s)."
        if has_begun:
            return f"{host} broke off in the middle of an answer{told}"
        return f"{host} cannot be reached. Is the server running, and is {where} right? ({said})"
    if trouble == "key":
        variable = endpoint.key_variable or "key_variable"
        return f"{host} refused the key. Check {variable}. It said{told}"
    if trouble == "model":
        return (
            f"{host} does not know the model {model!r}, or {where} is not its API address "
            f"(it usually ends in /v1). It said{told}"
        )
    status = getattr(error, "status_code", None)
    words = {
        "credit": "says that the account has no credit left",
        "filtered": "stopped the request by its content filter",
        "busy": f"is busy, or a limit is reached (status {status})",
        "refused": "refused the request",
        "server": "broke off" if status is None else f"failed with status {status}",
    }
    return f"{host} {words[trouble]}{told}"


def _where(endpoint: Endpoint) -> str:
    """Say where a person looks the address up."""
    if endpoint.name == UNNAMED:
        return "PRISM_REMOTE_URL"
    return f"base_url of '{endpoint.name}' ({endpoint.base_url})"


def _retry_after(error: Exception) -> float | None:
    """Return the seconds that the provider asks to wait, in any of the three forms."""
    headers = getattr(getattr(error, "response", None), "headers", {})
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
