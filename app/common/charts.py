"""The look that all Plotly figures share. Text takes the page's colour by the style sheet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

INK = "#7a7d89"
"""Lines and text of axes: readable on light and dark."""
GRID = "rgba(128, 130, 145, 0.22)"
FIRST, SECOND, THIRD = "#7264e6", "#12867d", "#c2780c"
"""Colours of series, the same in light and dark."""
PALE = "rgba(128, 130, 145, 0.45)"
_FONT = "-apple-system, BlinkMacSystemFont, Segoe UI, Roboto, Noto Sans, Arial, sans-serif"


def figure(
    title: str,
    x: str,
    y: str,
    *,
    height: int = 300,
    unit: bool = False,
    layout: Mapping[str, Any] | None = None,
) -> go.Figure:
    """An empty figure with title and axes.

    Args:
        title: what it shows; the figure carries it, not the label.
        x: what the horizontal axis measures, with its unit.
        y: what the vertical axis measures, with its unit.
        height: in pixels.
        unit: whether both axes run from 0 to 1.
        layout: more of Plotly's layout.
    """
    axis: dict[str, Any] = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "automargin": True,
        "title_font_size": 12,
        "tickfont_size": 11,
    }
    ends = {"range": [-0.02, 1.02]} if unit else {}
    made = go.Figure()
    made.update_layout(
        title={"text": title, "font": {"size": 14}, "x": 0, "xref": "container", "xanchor": "left"},
        font={"family": _FONT, "size": 12, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        height=height,
        margin={"l": 8, "r": 12, "t": 44, "b": 8},
        legend={"orientation": "h", "y": -0.24, "x": 0, "yanchor": "top"},
        hoverlabel={"font_size": 12},
        xaxis={**axis, **ends, "title_text": x},
        yaxis={**axis, **ends, "title_text": y},
    )
    return made.update_layout(**(layout or {}))


def say(made: go.Figure, text: str) -> go.Figure:
    """Write a sentence into a figure that has nothing to draw."""
    made.update_xaxes(visible=False).update_yaxes(visible=False)
    return made.add_annotation(
        text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=13
    )
