"""Robustness: stability against fidelity, one point a model or adapter, both with intervals.

A model can be steady because it ignores personas: then it stands on the right and low. The points
were measured by `stability` and `fidelity` on tasks of their own, not by the study that is open, so
filters do not move them; a click shows the open study's answers of that model, if there are any.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.figures.canvas import canvas, legend_below, nothing, plain
from prism_core.figures.colours import ADAPTER, CONTROL, NEUTRAL, PERSONA, REPORTED
from prism_core.figures.result import FigureOptions, FigureResult
from prism_core.robustness.points import RobustnessPoint, load_points
from prism_core.types import Estimate

_COLOURS = (NEUTRAL, PERSONA, ADAPTER, CONTROL, REPORTED)
_SYMBOLS = ("square", "circle", "diamond", "triangle-up", "cross")
_NONE = (
    "Nothing has been measured yet. `prism stability --keep NAME` and `fidelity "
    "--keep NAME` measure a model or an adapter."
)


def robustness(view: View, _options: FigureOptions) -> FigureResult:
    """Draw the points at hand; an empty study shows nothing at all."""
    if not len(view.rows):
        return nothing(_NONE)
    return draw_robustness(load_points())


def draw_robustness(points: Sequence[RobustnessPoint]) -> FigureResult:
    """Draw the points that have both measures."""
    whole = [p for p in points if _known(p.stability) and _known(p.fidelity)]
    if not whole:
        return nothing(_NONE)
    made = canvas(482, x="persona stability (0 to 1)", y="PersonaScore (1 to 5)")
    for number, point in enumerate(whole):
        x, y = point.stability, point.fidelity
        assert x is not None and y is not None  # `whole` holds no others
        made.add_scatter(
            x=[x.value],
            y=[y.value],
            name=plain(point.label),
            mode="markers",
            marker={
                "size": 12,
                "color": _COLOURS[number % len(_COLOURS)],
                "symbol": _SYMBOLS[number % len(_SYMBOLS)],
            },
            error_x=_bars(x),
            error_y=_bars(y),
            customdata=[_pick(point)],
            hovertemplate=f"{plain(point.label)}<br>stability {x}<br>PersonaScore {y}"
            "<extra></extra>",
        )
    return FigureResult(
        figure=legend_below(made, 70),
        data=pd.DataFrame([_row(p) for p in whole]),
        reading=_reading(whole),
        note=_note(whole),
        picks=tuple(_pick(p) for p in whole),
    )


def _pick(point: RobustnessPoint) -> str:
    return Pick(model=point.model).to_text()


def _known(value: Estimate | None) -> bool:
    return value is not None and value.value is not None


def _bars(value: Estimate) -> dict[str, object]:
    if value.value is None or value.low is None or value.high is None:
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [value.high - value.value],
        "arrayminus": [value.value - value.low],
        "thickness": 1.2,
    }


def _row(point: RobustnessPoint) -> dict[str, str]:
    return {
        "who": point.label,
        "stability": str(point.stability),
        "on held-out personas": str(point.held_out) if point.held_out else "",
        "mean accuracy": str(point.mean) if point.mean else "",
        "PersonaScore": str(point.fidelity),
        "own words": str(point.markers) if point.markers else "",
        "task": point.task,
        "judge": point.judge,
    }


def _reading(points: Sequence[RobustnessPoint]) -> str:
    """Say who is steadiest, and whether that is clear of the first point."""
    first = points[0]
    best = max(points, key=lambda p: (p.stability and p.stability.value) or 0.0)
    if best is first or best.stability is None or first.stability is None:
        return f"None is measured steadier than {first.label} ({first.stability})."
    apart = (
        best.stability.low is not None
        and first.stability.high is not None
        and best.stability.low > first.stability.high
    )
    clear = "their intervals are apart" if apart else "their intervals overlap"
    return (
        f"{best.label} is measured steadiest ({best.stability}); {first.label} has "
        f"{first.stability}, and {clear}."
    )


def _note(points: Sequence[RobustnessPoint]) -> str:
    tasks = ", ".join(sorted({p.task for p in points if p.task}))
    judges = ", ".join(sorted({p.judge for p in points if p.judge}))
    return (
        f"Measured by stability ({tasks}) and fidelity (judged by {judges}), not by this study: "
        "filters do not move these points. 95 % intervals; they do not use that the points share "
        "items and personas, so compare pairs with the command line."
    )
