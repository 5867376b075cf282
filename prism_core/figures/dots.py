"""Dots with intervals on horizontal lines: the shape of several figures, drawn in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from prism_core.analysis.effects import Call
from prism_core.figures.canvas import plain
from prism_core.figures.colours import OFF
from prism_core.figures.marks import bars_of, marker
from prism_core.types import Estimate


@dataclass(frozen=True)
class Dot:
    """One estimate on a line."""

    y: float
    """The line, counted from the top; fractions stand beside it."""
    estimate: Estimate
    """What is drawn."""
    call: Call
    """What may be said about it; decides whether it is filled."""
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
        made.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=plain(name),
            legendgroup=name,
            marker={"color": colour, "symbol": symbol, "size": 11},
            row=row,
            col=column,
        )
    marks = [marker(d.call, colour, symbol) for d in dots]
    made.add_scatter(
        x=[d.estimate.value for d in dots],
        y=[d.y for d in dots],
        mode="markers",
        name=plain(name),
        legendgroup=name,
        showlegend=False,
        marker={
            "color": [m["color"] for m in marks],
            "symbol": [m["symbol"] for m in marks],
            "size": 12,
            "line": {"width": [m["line"]["width"] for m in marks], "color": OFF},
        },
        error_x=bars_of([d.estimate for d in dots], OFF),
        customdata=[d.pick for d in dots],
        hovertemplate=[f"{d.hover}<extra></extra>" for d in dots],
        row=row,
        col=column,
    )


def label_lines(made: go.Figure, labels: Sequence[str]) -> go.Figure:
    """Name the lines, from the top."""
    return made.update_yaxes(
        range=[len(labels) - 0.4, -0.6],
        showgrid=False,
        tickvals=list(range(len(labels))),
        ticktext=list(labels),
    )
