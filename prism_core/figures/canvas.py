"""Empty figures in the app's look. Text takes the page's colour; nothing here knows the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from prism_core.figures.colours import GRID, INK
from prism_core.figures.result import FigureResult

FONT = "-apple-system, BlinkMacSystemFont, Segoe UI, Roboto, Noto Sans, Arial, sans-serif"
_AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": GRID,
    "zeroline": False,
    "automargin": True,
    "title_font_size": 12.5,
    "title_standoff": 8,
    "tickfont_size": 12,
}
ZERO_LINE: dict[str, Any] = {"color": INK, "width": 1.2, "dash": "dot"}
HOLLOW_NOTE = (
    "Filled: an effect (exact p < 0.05, and the 95 % interval leaves out 0). Hollow and grey: no "
    "effect is claimed. Dotted: fewer than 20 items, too few for a verdict."
)


def canvas(height: int, *, x: str = "", y: str = "") -> go.Figure:
    """Return a figure of one panel."""
    return panels(height).update_xaxes(title_text=x).update_yaxes(title_text=y)


def panels(height: int, **how: Any) -> go.Figure:
    """Return a figure of several panels; see `plotly.subplots.make_subplots`."""
    made = make_subplots(**how)
    made.update_layout(
        font={"family": FONT, "size": 12.5, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        height=height,
        margin={"l": 8, "r": 14, "t": 26, "b": 8},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.0,
            "yanchor": "bottom",
            "yref": "container",
            "font": {"size": 12},
        },
        hoverlabel={"font_size": 12.5, "align": "left"},
        hovermode="closest",
        dragmode=False,
    )
    made.update_annotations(font={"size": 13.5})
    return made.update_xaxes(**_AXIS).update_yaxes(**_AXIS)


def score_panels(height: int, scores: Sequence[str]) -> go.Figure:
    """Return a figure with a panel for each score, side by side on the same lines."""
    return panels(
        height,
        rows=1,
        cols=max(1, len(scores)),
        shared_yaxes=True,
        horizontal_spacing=0.06,
        subplot_titles=[s.capitalize() for s in scores],
    )


def legend_below(made: go.Figure, space: int) -> go.Figure:
    """Put the legend under the axes, with so many pixels for both."""
    return made.update_layout(margin_b=space, legend={"y": 0, "yanchor": "bottom"})


def nothing(why: str) -> FigureResult:
    """Return a figure that has nothing to draw and says why."""
    made = canvas(220).update_xaxes(visible=False).update_yaxes(visible=False)
    made.add_annotation(
        text=wrap(why, 46), x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=14
    )
    return FigureResult(made, pd.DataFrame(), why, note="")


def wrap(text: str, width: int) -> str:
    """Return the text with line breaks for Plotly."""
    lines: list[str] = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)


def plain(text: str, longest: int = 60) -> str:
    """Return a foreign name for Plotly, which would read `<` and `&` as markup."""
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
