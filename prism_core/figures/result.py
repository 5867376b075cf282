"""What a figure is made with and what it gives: values that page, command line and tests share.

A figure never comes alone: its numbers, a sentence that reads them, and a note on how they were
made go with it. `picks` name the answers behind each row of the numbers, for a click or a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from prism_core.analysis.effects import CALL_WORDS, Effect
from prism_core.analysis.grid import ScoreName
from prism_core.types import Estimate


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
    """Every point carries its pick as `customdata`."""
    data: pd.DataFrame
    """The numbers behind it, one row for each thing drawn."""
    reading: str
    """One sentence generated from the numbers; nulls are said as nulls."""
    note: str
    picks: tuple[str, ...] = ()
    """For each row of `data` the answers behind it (see `analysis/pick.py`), or an empty text."""

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to draw."""
        return self.data.empty


def interval_columns(estimate: Estimate, name: str = "change", of: str = "") -> dict[str, Any]:
    """Return the columns `name`, `low` and `high` of an estimate; `of` tells several apart."""
    before = f"{of}, " if of else ""
    ends = {f"{before}low": estimate.low, f"{before}high": estimate.high}
    return {name: estimate.value, **ends}


def effect_columns(effect: Effect, name: str = "change") -> dict[str, Any]:
    """Return an effect's columns: its estimate, the number of items and the verdict."""
    verdict = CALL_WORDS[effect.call]
    return {
        **interval_columns(effect.estimate, name),
        "items": effect.estimate.n,
        "verdict": verdict,
    }
