"""The marks that several figures draw: filled where an effect is clear, hollow where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from prism_core.analysis.effects import Call
from prism_core.figures.canvas import plain
from prism_core.figures.colours import OFF
from prism_core.types import Estimate


@dataclass(frozen=True)
class Dot:
    """One estimate on a horizontal line; `call` decides whether it is filled."""

    y: float
    """The line, counted from the top; fractions stand beside it."""
    estimate: Estimate
    call: Call
    hover: str
    pick: str


def markers(calls: Sequence[Call], colour: str, symbol: str, line: str = OFF) -> dict[str, Any]:
    """Return Plotly's markers: filled if clear, hollow and grey if not, dotted if too few items."""
    shapes: dict[Call, str] = {"none": f"{symbol}-open", "too few": f"{symbol}-open-dot"}
    return {
        "color": [OFF if call in shapes else colour for call in calls],
        "symbol": [shapes.get(call, symbol) for call in calls],
        "size": 12,
        "line": {"width": [1.6 if call in shapes else 0 for call in calls], "color": line},
    }


def bars_of(estimates: Sequence[Estimate], colour: str) -> dict[str, Any]:
    """Return Plotly's asymmetric error bars for intervals; none where there is no interval."""

    def gap(high: float | None, low: float | None) -> float | None:
        return None if high is None or low is None else max(0.0, high - low)

    return {
        "type": "data",
        "symmetric": False,
        "array": [gap(e.high, e.value) for e in estimates],
        "arrayminus": [gap(e.value, e.low) for e in estimates],
        "thickness": 1.4,
        "width": 3,
        "color": colour,
    }


def legend_entry(
    made: go.Figure, name: str, colour: str, symbol: str, size: int = 11, **where: Any
) -> None:
    """Name a colour in the legend by an empty trace, so that its look never depends on the data.

    `where` is Plotly's `row`, `col` and `legendgroup`.
    """
    made.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=plain(name),
        marker={"color": colour, "symbol": symbol, "size": size},
        **where,
    )


def draw_area(
    made: go.Figure,
    x: Sequence[float],
    y: Sequence[float | None],
    fill: str,
    *,
    line: dict[str, Any] | None = None,
    row: int = 1,
    column: int = 1,
) -> None:
    """Fill an outline that nobody can point at, such as a band or an ellipse."""
    made.add_scatter(
        x=x,
        y=y,
        mode="lines",
        line=line or {"width": 0},
        fill="toself",
        fillcolor=fill,
        hoverinfo="skip",
        showlegend=False,
        row=row,
        col=column,
    )


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
