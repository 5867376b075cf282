"""What a probe found out about a model at an endpoint, before anything is bought there.

A `Probe` is kept with a study, so that a reader sees under which conditions its answers came.
`probing` makes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PromptLogprobs = Literal["none", "chat"]
"""Whether log-probabilities of a given answer can be had behind the chat template."""
LimitField = Literal["max_tokens", "max_completion_tokens"]


@dataclass(frozen=True)
class Probe:
    """What a model at an endpoint can do."""

    endpoint: str
    model: str
    refused: tuple[str, ...] = ()
    """Parameters that the model refuses; they are not sent."""
    limit_field: LimitField = "max_tokens"
    """The parameter that caps an answer."""
    top_logprobs: int = 0
    """How many first tokens are reported with their log-probability; 0 for none."""
    prompt_logprobs: PromptLogprobs = "none"
    several: bool = False
    """Whether one request can draw several answers (`n`)."""
    usage: bool = False
    """Whether the server counts tokens."""
    reasons: bool = False
    """Whether it thinks before it answers."""
    requests: int = 0
    """What the probe itself cost: requests, then tokens read and written as the server counts."""
    prompt_tokens: int = 0
    tokens: int = 0
    notes: tuple[str, ...] = ()
    """What a reader should know besides, as sentences."""
