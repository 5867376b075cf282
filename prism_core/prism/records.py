"""What the PRISM stages hand to each other: queries -> answer pairs -> judged pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prism_core.types import Completion, Verdict

Route = Literal["distill", "retain"]


@dataclass(frozen=True)
class Query:
    """A question that a persona's expertise might serve (PRISM, stage 1)."""

    id: str
    """Unique within the run, stable across resumes."""
    persona: str
    """Name of the persona it was written for."""
    subtopic: str
    """The sub-topic that it was asked about; queries of one sub-topic are held out together."""
    text: str
    """The question itself."""
    wanted: bool | None = None
    """Whether the persona's behaviour is wanted, where that is known; None where it is not."""


@dataclass(frozen=True)
class AnswerPair:
    """One query answered with the persona and without it (stage 2)."""

    query: Query
    """What was asked."""
    persona: Completion
    """The answer with the persona's text in the prompt."""
    neutral: Completion
    """The answer without it."""


@dataclass(frozen=True)
class JudgedPair:
    """A pair with its verdict (stage 3)."""

    pair: AnswerPair
    """Query and both answers."""
    verdict: Verdict
    """The judge's choice in both orders."""

    @property
    def route(self) -> Route:
        """`distill` where the persona won in both orders, else `retain`."""
        return "distill" if self.verdict.winner == "persona" else "retain"
