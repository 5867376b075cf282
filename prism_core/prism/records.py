"""What the PRISM stages hand to each other: queries -> answer pairs -> judged pairs.

Every stage takes its settings first and, last, a journal and a progress. The journal keeps finished
batches, which a resumed stage does not do again; the progress is told of every batch, and its
cancel event stops the stage.
"""

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
    subtopic: str
    """Queries of one sub-topic are held out together."""
    text: str
    wanted: bool | None = None
    """Whether the persona's behaviour is wanted; None where that is not known."""


@dataclass(frozen=True)
class AnswerPair:
    """One query answered with the persona's text in the prompt and without it (stage 2)."""

    query: Query
    persona: Completion
    neutral: Completion


@dataclass(frozen=True)
class JudgedPair:
    """A pair with its verdict in both orders (stage 3)."""

    pair: AnswerPair
    verdict: Verdict

    @property
    def route(self) -> Route:
        """`distill` where the persona won in both orders, else `retain`."""
        return "distill" if self.verdict.winner == "persona" else "retain"
