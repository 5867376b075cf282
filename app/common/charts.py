"""The look of the figures of runs: the colours and type of a study's figures, with a title."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from prism_core.figures.canvas import FONT
from prism_core.figures.colours import CONTROL, GRID, INK, PERSONA, REPORTED

FIRST, SECOND, THIRD = PERSONA, CONTROL, REPORTED
"""Colours of series, the same in light and dark."""
_AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": GRID,
    "zeroline": False,
    "automargin": True,
    "title_font_size": 12,
    "tickfont_size": 11,
}


def figure(title: str, x: str, y: str, *, height: int = 300, unit: bool = False) -> go.Figure:
    """Make an empty figure with a title, and axes that say what they measure in which unit.

    The `height` is in pixels; with `unit`, both axes run from 0 to 1.
    """
    axis = _AXIS | ({"range": [-0.02, 1.02]} if unit else {})
    return go.Figure().update_layout(
        title={"text": title, "font": {"size": 14}, "x": 0, "xref": "container", "xanchor": "left"},
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        height=height,
        margin={"l": 8, "r": 12, "t": 44, "b": 8},
        legend={"orientation": "h", "y": -0.24, "x": 0, "yanchor": "top"},
        hoverlabel={"font_size": 12},
        xaxis={**axis, "title_text": x},
        yaxis={**axis, "title_text": y},
    )


def draw_series(
    made: go.Figure, x: Sequence[float], y: Sequence[float | None], name: str | None, **look: Any
) -> int:
    """Draw the points of a series whose `y` is known; return how many there are."""
    known = [(a, b) for a, b in zip(x, y, strict=True) if b is not None]
    if known:
        made.add_scatter(x=[a for a, _ in known], y=[b for _, b in known], name=name, **look)
    return len(known)


def say(made: go.Figure, text: str) -> go.Figure:
    """Write a sentence into a figure that has nothing to draw."""
    made.update_xaxes(visible=False).update_yaxes(visible=False)
    return made.add_annotation(
        text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=13
    )
