"""Figure 1: accuracy against alignment, the signature figure.

One arrow for each category from its neutral answers to the arm's, and a thick one over everything.
The ellipse around an arrow's head is the joint 95 % region of both paired effects. Categories that
have only one of the two scores stand in the strip beside their axis, with an interval instead.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from prism_core.analysis.arms import arms_of
from prism_core.analysis.domains import title_of
from prism_core.analysis.effects import CALL_WORDS
from prism_core.analysis.grid import ScoreName
from prism_core.analysis.pick import Pick
from prism_core.analysis.steps import Step, only_on, steps_of
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, sentence
from prism_core.figures.canvas import HOLLOW_NOTE, legend_below, nothing, panels, plain
from prism_core.figures.colours import ARM_COLOURS, ARM_SYMBOLS, OFF, REPORTED, faded
from prism_core.figures.marks import bars_of, draw_area, label_lines, legend_entry
from prism_core.figures.reported import tradeoff_points
from prism_core.figures.result import FigureOptions, FigureResult, interval_columns
from prism_core.stats import noninferiority

_HEIGHT = 560
_STILL = 0.002
"""A change below this is drawn as none."""


def tradeoff(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 1."""
    steps = steps_of(view, arms_of(view, matched=options.matched))
    if not steps:
        return nothing("Nothing here can be compared with neutral answers. Loosen the filters.")
    left = [c for c in view.categories if only_on(steps, c, "alignment")]
    below = [c for c in view.categories if only_on(steps, c, "accuracy")]
    made = _frame(left, below)
    legend_entry(made, "from neutral", OFF, "square", 8, row=1, col=2)
    for arm in dict.fromkeys(s.arm for s in steps):
        colour, symbol = ARM_COLOURS[arm.kind], ARM_SYMBOLS[arm.kind]
        legend_entry(made, arm.title, colour, symbol, 10, row=1, col=2)
    for step in steps:
        if step.has_both:
            _arrow(made, step)
        elif step.category in left:
            _mark(made, step, left.index(step.category), vertical=True)
        elif step.category in below:
            _mark(made, step, below.index(step.category), vertical=False)
    if options.overlay:
        _overlay(made)
    x, y = _range(steps, "accuracy"), _range(steps, "alignment")
    made.update_xaxes(range=x, col=2).update_yaxes(range=y, row=1)
    whole = (s for s in steps if not s.category)
    reading = "; ".join(f"{s.arm.title}: {_both(s)}{_no_worse(s, options.delta)}" for s in whole)
    return FigureResult(
        made,
        pd.DataFrame([_record(s) for s in steps]),
        sentence(reading),
        _note(left, below, options),
        tuple(s.arm.pick_of(s.category) for s in steps),
    )


def _frame(left: list[str], below: list[str]) -> go.Figure:
    """Return the main panel (row 1, column 2) with strips beside and below it."""
    strip = 0.26 if left else 0.001
    foot = (0.1 + 0.035 * len(below)) if below else 0.001
    made = panels(
        _HEIGHT + 26 * len(below),
        rows=2,
        cols=2,
        column_widths=[strip, 1 - strip],
        row_heights=[1 - foot, foot],
        shared_xaxes="columns",
        shared_yaxes="rows",
        horizontal_spacing=0.03 if left else 0.0,
        vertical_spacing=0.05 if below else 0.0,
        specs=[[{}, {}], [None, {}]],
    )
    percent: dict[str, Any] = {"tickformat": ".0%"}
    made.update_yaxes(title_text="alignment", **percent, row=1, col=1)
    made.update_yaxes(**percent, row=1, col=2)
    made.update_xaxes(title_text="accuracy", **percent, row=2, col=2)
    made.update_xaxes(showticklabels=not below, row=1, col=2)
    made.update_xaxes(
        tickvals=list(range(len(left))),
        ticktext=[title_of(c) for c in left],
        tickangle=-90,
        range=[-0.6, len(left) - 0.4],
        showgrid=False,
        side="top",
        row=1,
        col=1,
        visible=bool(left),
    )
    label_lines(made, [title_of(c) for c in below], row=2, col=2, visible=bool(below))
    if not left:
        made.update_yaxes(title_text="alignment", showticklabels=True, row=1, col=2)
        made.update_yaxes(visible=False, row=1, col=1)
    return legend_below(made, 58)


def _arrow(made: go.Figure, step: Step) -> None:
    x, y = step.effects["accuracy"], step.effects["alignment"]
    if x.before is None or y.before is None:
        return
    clear, whole = step.call == "up", not step.category
    colour = ARM_COLOURS[step.arm.kind] if clear else OFF
    dash = "solid" if clear else "dot"
    ring = step.region.outline()
    if ring:
        draw_area(
            made,
            [x.before + along for along, _ in ring],
            [y.before + up for _, up in ring],
            faded(colour, 0.14 if whole else 0.07),
            line={"color": faded(colour, 0.55), "width": 1, "dash": dash},
            column=2,
        )
    gained = (x.estimate.value or 0) >= 0
    made.add_scatter(
        x=[x.before, x.after],
        y=[y.before, y.after],
        mode="lines+markers+text",
        line={"color": colour, "width": 3.4 if whole else 1.6, "dash": dash},
        marker=_ends(step, colour, 8, 17 if whole else 13),
        text=["", "<b>All</b>" if whole else _label(step)],
        textposition="middle right" if gained else "middle left",
        textfont_size=12.5 if whole else 11.5,
        cliponaxis=False,
        row=1,
        col=2,
        **_told(step),
    )


def _mark(made: go.Figure, step: Step, place: int, *, vertical: bool) -> None:
    """Draw a category with one score: from neutral to the arm along that score's axis."""
    effect = step.effects["alignment" if vertical else "accuracy"]
    if effect.before is None or effect.after is None:
        return
    colour = ARM_COLOURS[step.arm.kind] if effect.is_clear else OFF
    shift = 0.16 if step.arm.kind == "adapter" else -0.16
    along, across = [effect.before, effect.after], [place + shift] * 2
    bars = bars_of([effect.estimate, effect.estimate], faded(colour, 0.5))
    bars["array"][0] = bars["arrayminus"][0] = None
    made.add_scatter(
        x=across if vertical else along,
        y=along if vertical else across,
        mode="lines+markers",
        line={"color": colour, "width": 1.6},
        marker=_ends(step, colour, 6, 12),
        error_y=bars if vertical else None,
        error_x=None if vertical else bars,
        row=1 if vertical else 2,
        col=1 if vertical else 2,
        **_told(step),
    )


def _ends(step: Step, colour: str, tail: int, head: int) -> dict[str, Any]:
    """Return the markers at both ends of an arrow; one that goes nowhere has no direction."""
    moves = [abs(e.estimate.value or 0.0) for e in step.effects.values()]
    symbol = "arrow" if step.call in ("up", "down") else "arrow-open"
    if step.call == "too few":
        symbol = "circle-open-dot"
    elif max(moves) < _STILL:
        symbol = "circle-open"
    return {
        "symbol": ["square", symbol],
        "angleref": "previous",
        "size": [tail, head],
        "color": [OFF, colour],
    }


def _told(step: Step) -> dict[str, Any]:
    """Return what both ends of an arrow tell when they are pointed at or picked."""
    neutral = [f"<b>{_label(step)}</b>, neutral"]
    arm = [f"<b>{_label(step)}</b>, {plain(step.arm.title)}"]
    for score, effect in step.measured:
        neutral.append(f"{score} {effect.before:.1%}")
        arm.append(f"{score} {effect_text(effect.estimate)}")
    start = Pick(arm="neutral", category=step.category).to_text()
    return {
        "customdata": [start, step.arm.pick_of(step.category)],
        "hovertemplate": ["<br>".join(lines) + "<extra></extra>" for lines in (neutral, arm)],
        "showlegend": False,
    }


def _label(step: Step) -> str:
    return title_of(step.category) if step.category else "All categories"


def _range(steps: list[Step], score: ScoreName) -> list[float]:
    """Return what the axis shows: all means and interval ends, within 0 and 1, and some room."""
    ends = []
    for effect in (step.effects[score] for step in steps):
        if effect.before is not None:
            moves = (0.0, effect.estimate.value, effect.estimate.low, effect.estimate.high)
            ends += [effect.before + v for v in moves if v is not None]
    low, high = max(0.0, min(ends, default=0.0)), min(1.0, max(ends, default=1.0))
    room = max(0.02, 0.07 * (high - low))
    return [low - room, high + room]


def _overlay(made: go.Figure) -> None:
    for point in tradeoff_points():
        made.add_scatter(
            x=point.x,
            y=point.y,
            mode="lines+markers",
            name=f"reported: {point.label}",
            line={"color": REPORTED, "width": 1.4, "dash": "dash"},
            marker={"symbol": ["square-open", "arrow-open"], "angleref": "previous", "size": 11},
            hovertemplate=f"reported by the paper: {point.label}<br>MMLU %{{x:.1%}}, "
            "mean of MT-Bench and safety %{y:.1%}<extra></extra>",
            row=1,
            col=2,
        )


def _record(step: Step) -> dict[str, Any]:
    row: dict[str, Any] = {"arm": step.arm.title, "category": _label(step)}
    for score, e in step.effects.items():
        row |= {f"{score}, neutral": e.before, f"{score}, arm": e.after}
        row |= interval_columns(e.estimate, f"{score}, change", score)
        row[f"{score}, items"] = e.estimate.n
        row[f"{score}, verdict"] = CALL_WORDS[e.call] if e.estimate.n else "not measured"
    return row


def _both(step: Step) -> str:
    said = [f"{s} {effect_text(e.estimate)} ({CALL_WORDS[e.call]})" for s, e in step.measured]
    end = {
        ("down", "up"): ", so alignment is bought with accuracy",
        ("up", "up"): ", so both gain",
        ("up", "down"): ", so accuracy is bought with alignment",
        ("down", "down"): ", so both lose",
    }.get((step.effects["accuracy"].call, step.effects["alignment"].call), "")
    return " and ".join(said) + end


def _no_worse(step: Step, delta: float) -> str:
    """Say whether PRISM keeps its promise "no worse", which "not significant" does not show."""
    accuracy = step.effects["accuracy"].estimate
    if step.arm.kind != "adapter" or not accuracy.n:
        return ""
    said = {
        "non-inferior": f"in accuracy no worse than neutral by more than {delta * 100:g} points",
        "inferior": f"in accuracy worse than neutral by more than {delta * 100:g} points",
        "inconclusive": f"whether accuracy is worse by more than {delta * 100:g} points is open",
        "too few items": "too few items to say whether accuracy is no worse",
    }[noninferiority(accuracy, delta)]
    return f", {said}"


def _note(left: list[str], below: list[str], options: FigureOptions) -> str:
    parts = [
        "Arrows run from neutral to the arm; ellipses are joint 95 % regions of both paired "
        f"effects, intervals in the strips 95 % ones. {HOLLOW_NOTE}"
    ]
    if left:
        parts.append("Categories in the left strip have an alignment score only.")
    if below:
        parts.append("Categories in the lower strip have an accuracy score only.")
    parts.append(
        "Tasks that share a category are taken together, unless a filter chooses one task."
    )
    if options.overlay:
        parts.append("Dashed: reported by the paper for other models and data, not ours.")
    return " ".join(parts)
