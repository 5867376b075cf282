"""What a figure is made with and what it gives: values, so that page, command line and tests share.

A figure never comes alone: its numbers, a sentence that reads them, and a note on how they were
made go with it. `picks` name the answers behind each row of the numbers, for a click or a key.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from prism_core.analysis.grid import ScoreName


@dataclass(frozen=True)
class FigureOptions:
    """Choices that a figure may follow; one that has no use for a choice ignores it."""

    score: ScoreName = "accuracy"
    """The score of the figures that show one at a time."""
    overlay: bool = False
    """Whether the paper's own numbers are drawn too, labelled as reported."""
    matched: bool = False
    """Whether the persona arm is only each category's own expert, instead of all personas shown."""
    delta: float = 0.05
    """The largest loss that still counts as "no worse", for non-inferiority."""


@dataclass(frozen=True)
class FigureResult:
    """One figure with everything that belongs to it."""

    figure: go.Figure
    """What is drawn; every point carries its pick as `customdata`."""
    data: pd.DataFrame
    """The numbers behind it, one row a drawn thing."""
    reading: str
    """One sentence generated from the numbers; nulls are said as nulls."""
    note: str
    """How it was made, and what is left out."""
    picks: tuple[str, ...] = ()
    """For each row of `data` the answers behind it (see `pick.py`), or an empty text."""

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to draw."""
        return self.data.empty
