"""Dots with intervals on horizontal lines: the shape of several figures, drawn in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from prism_core.analysis.effects import Call
from prism_core.figures.canvas import plain
from prism_core.figures.colours import OFF
from prism_core.figures.marks import bars_of, legend_entry, markers
from prism_core.types import Estimate


@dataclass(frozen=True)
class Dot:
    """One estimate on a line."""

    y: float
    """The line, counted from the top; fractions stand beside it."""
    estimate: Estimate
    call: Call
    """What may be said about the estimate; decides whether the dot is filled."""
    hover: str
    """What is told when it is pointed at, as Plotly's markup."""
    pick: str
    """The answers behind it."""


def draw_dots(
    made: go.Figure,
    dots: Sequence[Dot],
    *,
    name: str,
    colour: str,
    symbol: str = "circle",
    row: int = 1,
    column: int = 1,
    legend: bool = True,
) -> None:
    """Add one series of dots; it stands in the legend in its own colour even if all are hollow."""
    if legend:
        legend_entry(made, name, colour, symbol, legendgroup=name, row=row, col=column)
    made.add_scatter(
        x=[d.estimate.value for d in dots],
        y=[d.y for d in dots],
        mode="markers",
        name=plain(name),
        legendgroup=name,
        showlegend=False,
        marker=markers([d.call for d in dots], colour, symbol),
        error_x=bars_of([d.estimate for d in dots], OFF),
        customdata=[d.pick for d in dots],
        hovertemplate=[f"{d.hover}<extra></extra>" for d in dots],
        row=row,
        col=column,
    )


def label_lines(made: go.Figure, labels: Sequence[str], **where: Any) -> go.Figure:
    """Name the lines, from the top; `where` is Plotly's `row` and `col`, by default all."""
    return made.update_yaxes(
        range=[len(labels) - 0.4, -0.6],
        showgrid=False,
        tickvals=list(range(len(labels))),
        ticktext=list(labels),
        **where,
    )
