"""The figures of a study: pure functions from a study to a drawing, its numbers and its reading.

`FIGURES["tradeoff"](study)` draws one. The page keeps a study's grid and hands over filtered views
of it instead; both give a `FigureResult`. All numbers come from `prism_core.analysis`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from prism_core.analysis import View, make_grid, make_view
from prism_core.errors import NotFoundError
from prism_core.figures.categories import categories
from prism_core.figures.control import control
from prism_core.figures.expert import expert
from prism_core.figures.judge import judge
from prism_core.figures.lift import lift
from prism_core.figures.lottery import lottery
from prism_core.figures.placement import placement
from prism_core.figures.result import FigureOptions, FigureResult
from prism_core.figures.robustness import robustness
from prism_core.figures.routing import routing
from prism_core.figures.sweep import sweep
from prism_core.figures.tradeoff import tradeoff

__all__ = ["FIGURES", "FigureKind", "FigureOptions", "FigureResult", "find_figure"]


class HasRows(Protocol):
    """A study, as far as figures look at it."""

    @property
    def rows(self) -> pd.DataFrame:
        """One answer for each row; see `prism_core/study/table.py`."""
        ...


@dataclass(frozen=True)
class FigureKind:
    """One of the figures."""

    draw: Callable[[View, FigureOptions], FigureResult]
    title: str
    question: str
    by_score: bool = False
    """Whether it shows one score at a time, as `FigureOptions.score` says."""
    has_overlay: bool = False
    """Whether the paper's own numbers can be laid over it."""
    can_match: bool = False
    """Whether the persona arm can be each category's own expert alone."""

    @property
    def name(self) -> str:
        """Its name on the command line and in links: that of the function which draws it."""
        return self.draw.__name__

    def __call__(
        self, source: HasRows | View, options: FigureOptions | None = None
    ) -> FigureResult:
        """Draw it from a study or a filtered view."""
        view = source if isinstance(source, View) else make_view(make_grid(source.rows))
        return self.draw(view, options or FigureOptions())


_KINDS = (
    FigureKind(
        tradeoff,
        "Accuracy against alignment",
        "What does a persona cost, and what does it bring?",
        has_overlay=True,
        can_match=True,
    ),
    FigureKind(
        categories,
        "By category and length",
        "Where does it help, and does a longer text do more?",
        has_overlay=True,
        can_match=True,
    ),
    FigureKind(placement, "Placement by model", "System turn or user turn?", has_overlay=True),
    FigureKind(lift, "Persona by category", "Which persona lifts which category?", by_score=True),
    FigureKind(
        expert,
        "Expert and others",
        "Is an expert better than no persona, and than any other one?",
        by_score=True,
        has_overlay=True,
    ),
    FigureKind(
        routing,
        "Routing",
        "Does the gate open where a persona helps?",
        has_overlay=True,
        can_match=True,
    ),
    FigureKind(sweep, "Threshold sweep", "What if the gate opened sooner, or later?"),
    FigureKind(
        lottery, "Persona lottery", "How much does it matter which persona you draw?", by_score=True
    ),
    FigureKind(control, "Control check", "Is it the persona, or just a long prompt?"),
    FigureKind(judge, "Judge", "How far can the judge be trusted?"),
    FigureKind(robustness, "Robustness", "Steady under any persona, and still able to be one?"),
)
FIGURES: Mapping[str, FigureKind] = {kind.name: kind for kind in _KINDS}
"""The figures by name, in the order in which they are offered."""


def find_figure(name: str) -> FigureKind:
    """Return the figure of that name, or raise a NotFoundError that lists those there are."""
    if name in FIGURES:
        return FIGURES[name]
    raise NotFoundError(f"There is no figure '{name[:40]}'; choose one of {', '.join(FIGURES)}.")
