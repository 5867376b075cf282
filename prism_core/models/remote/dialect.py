"""Which parameters a model takes, learnt from what it refuses.

Services that speak the same protocol differ in what they allow: newer models want
`max_completion_tokens` for `max_tokens` and refuse a temperature, some servers refuse a seed. A
parameter that is refused is left out from then on and remembered, so that it can be told. What
else a person asked for is never left out: its refusal is an error, and so is that of a value which
is only out of range.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from prism_core.types import Prompt, Sampling

CAP, NEWER_CAP = "max_tokens", "max_completion_tokens"
"""What caps an answer; newer models know only the second."""
DROPPABLE = ("stream_options", "seed", "top_p", "temperature")
"""What may be left out, the least important first: where two are refused together, one may do."""
SEEDS = 2**31
"""Seeds are taken modulo this: services read them as signed 32-bit numbers."""
_REFUSALS = (400, 422, 501)
_RANGE = re.compile(
    r"\b(range|between|at most|at least|maximum|minimum|less than|greater than)\b|[<>]="
)


class Dialect:
    """What one model at one endpoint takes. Safe to share among threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._refused: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[str, ...]:
        """The parameters that are left out; in place of `max_tokens` its newer name is sent."""
        return self._refused

    def adopt(self, refused: Sequence[str]) -> None:
        """Leave these parameters out from now on."""
        with self._guard:
            self._refused = tuple(dict.fromkeys((*self._refused, *refused)))

    def body(self, prompt: Prompt, sampling: Sampling, seed: int) -> dict[str, Any]:
        """Return the parameters of a chat request, in everybody's dialect; see `fit`."""
        body: dict[str, Any] = {
            "messages": messages_of(prompt),
            CAP: sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": seed % SEEDS,
        }
        if sampling.top_p != 1.0:
            body["top_p"] = sampling.top_p
        if sampling.top_k:  # this and the next are not in OpenAI's own API
            body["top_k"] = sampling.top_k
        if sampling.repetition_penalty != 1.0:
            body["repetition_penalty"] = sampling.repetition_penalty
        return body

    def fit(self, body: Mapping[str, Any], refused: Sequence[str] = ()) -> dict[str, Any]:
        """Return a request's parameters as this model takes them, without those refused besides."""
        without = {*self._refused, *refused}
        fitted = {key: value for key, value in body.items() if key not in without}
        if CAP in body and CAP in without:
            fitted[NEWER_CAP] = body[CAP]
        return fitted


def refused_parameter(status: int, told: object, sent: Mapping[str, Any]) -> str | None:
    """Return which parameter a refusal is about, if one that may be left out.

    Args:
        status: of the reply.
        told: what the reply held.
        sent: the parameters as they were sent.
    """
    if status not in _REFUSALS:
        return None
    text = told if isinstance(told, str) else json.dumps(told, default=str)
    if CAP in sent and NEWER_CAP in text:
        return CAP
    if _RANGE.search(text):
        return None
    named = told.get("param") if isinstance(told, Mapping) else None
    words = (named,) if named in DROPPABLE else DROPPABLE
    return next((w for w in words if w in sent and re.search(rf"\b{w}\b", text)), None)


def messages_of(prompt: Prompt) -> list[dict[str, str]]:
    """Return a prompt as the protocol's messages."""
    return [{"role": m.role, "content": m.content} for m in prompt]
