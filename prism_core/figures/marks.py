"""The marks that several figures draw: filled where an effect is clear, hollow where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from prism_core.analysis.effects import Call
from prism_core.figures.canvas import plain
from prism_core.figures.colours import OFF
from prism_core.types import Estimate


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

    Args:
        made: The figure.
        name: What the legend says, before `plain`.
        colour: Of the entry.
        symbol: Of the entry.
        size: Of the symbol, in pixels.
        where: `row`, `col` and `legendgroup`, as in Plotly.
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
