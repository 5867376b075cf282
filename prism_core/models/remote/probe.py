"""What a probe found out about a model at an endpoint, before anything is bought there.

A `Probe` is kept with a study, so that a reader sees under which conditions its answers came.
`probing` makes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PromptLogprobs = Literal["none", "chat", "completions"]
"""How log-probabilities of a given answer can be had behind the chat template; see `given_text`."""


@dataclass(frozen=True)
class Probe:
    """What a model at an endpoint can do."""

    endpoint: str
    model: str
    refused: tuple[str, ...] = ()
    """Parameters that it refuses: `max_tokens` goes by its newer name, others are not sent."""
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

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        refused = [name for name in self.refused if name != "max_tokens"]
        without = f"without {', '.join(refused)}, which it refuses" if refused else "as asked"
        parts = [
            "thinks before it answers" if self.reasons else "",
            "caps answers by max_completion_tokens" if "max_tokens" in self.refused else "",
            f"reports the {self.top_logprobs} likeliest first tokens"
            if self.top_logprobs
            else "reports no log-probabilities of what it writes",
            "scores given text" if self.prompt_logprobs != "none" else "cannot score given text",
            "counts tokens" if self.usage else "does not count tokens",
        ]
        said = "; it ".join(["", *(part for part in parts if part)])
        return (
            f"{self.model} at {self.endpoint} answers {without}{said}. The probe took "
            f"{self.requests} requests and {self.prompt_tokens + self.tokens:,} tokens."
        )
