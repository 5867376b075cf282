"""Figure 1: accuracy against alignment, the signature figure.

One arrow for each category from its neutral answers to the arm's, and a thick one over everything.
The ellipse around an arrow's head is the joint 95 % region of both paired effects. Categories that
have only one of the two scores stand in the strip beside their axis, with an interval instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from prism_core.analysis.arms import Arm, arms_of
from prism_core.analysis.domains import title_of
from prism_core.analysis.effects import CALL_WORDS, Call, Effect, effects_of
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, sentence
from prism_core.figures.canvas import HOLLOW_NOTE, nothing, panels, plain
from prism_core.figures.colours import ARM_COLOURS, ARM_SYMBOLS, OFF, faded
from prism_core.figures.marks import bars_of
from prism_core.figures.reported import tradeoff_points
from prism_core.figures.result import FigureOptions, FigureResult
from prism_core.stats import MINIMUM_ITEMS, JointRegion, Pairs, joint_region, noninferiority

ALL = "All categories"
_HEIGHT = 560
_STILL = 0.002
"""A change below this is drawn as none."""


@dataclass(frozen=True, eq=False)
class _Step:
    """One arm in one category (or in all)."""

    arm: Arm
    category: str
    accuracy: Effect
    alignment: Effect
    region: JointRegion

    @property
    def has_both(self) -> bool:
        return bool(self.accuracy.estimate.n and self.alignment.estimate.n)

    @property
    def label(self) -> str:
        return title_of(self.category) if self.category else ALL

    @property
    def call(self) -> Call:
        """What may be said: jointly where both scores are there, else about the one."""
        if not self.has_both:
            return (self.accuracy if self.accuracy.estimate.n else self.alignment).call
        if self.region.n < MINIMUM_ITEMS:
            return "too few"
        if self.region.holds(0.0, 0.0) is False:
            return "up"
        clear = self.region.major is None and (self.accuracy.is_clear or self.alignment.is_clear)
        return "up" if clear else "none"


def tradeoff(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 1."""
    steps = _steps(view, arms_of(view, matched=options.matched))
    if not any(s.accuracy.estimate.n or s.alignment.estimate.n for s in steps):
        return nothing("Nothing here can be compared with neutral answers. Loosen the filters.")
    left = [c for c in view.categories if _only(steps, c, "alignment")]
    below = [c for c in view.categories if _only(steps, c, "accuracy")]
    made = _frame(left, below)
    _neutral_legend(made)
    for arm in dict.fromkeys(s.arm for s in steps):
        _legend_entry(made, arm)
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
    data, picks = _table(steps)
    return FigureResult(made, data, _reading(steps, options), _note(left, below, options), picks)


def _steps(view: View, arms: list[Arm]) -> list[_Step]:
    places = [(arm, category) for arm in arms for category in (*view.categories, "")]
    pairs: list[Pairs] = []
    for arm, category in places:
        pairs += [arm.pairs(view, "accuracy", category), arm.pairs(view, "alignment", category)]
    effects = effects_of(pairs)
    found = []
    for i, (arm, category) in enumerate(places):
        x, y = effects[2 * i], effects[2 * i + 1]
        if x.estimate.n or y.estimate.n:
            region = joint_region(pairs[2 * i], pairs[2 * i + 1])
            found.append(_Step(arm, category, x, y, region))
    return found


def _only(steps: list[_Step], category: str, score: str) -> bool:
    mine = [s for s in steps if s.category == category]
    other = "accuracy" if score == "alignment" else "alignment"
    return any(getattr(s, score).estimate.n for s in mine) and not any(
        getattr(s, other).estimate.n for s in mine
    )


def _frame(left: list[str], below: list[str]) -> go.Figure:
    """Main panel at row 1, column 2; strips beside and below it."""
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
    made.update_yaxes(
        tickvals=list(range(len(below))),
        ticktext=[title_of(c) for c in below],
        range=[len(below) - 0.4, -0.6],
        showgrid=False,
        row=2,
        col=2,
        visible=bool(below),
    )
    if not left:
        made.update_yaxes(title_text="alignment", showticklabels=True, row=1, col=2)
        made.update_yaxes(visible=False, row=1, col=1)
    return made.update_layout(margin_b=58, legend={"y": 0, "yanchor": "bottom"})


def _legend_entry(made: go.Figure, arm: Arm) -> None:
    made.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=plain(arm.title),
        marker={"color": ARM_COLOURS[arm.kind], "symbol": ARM_SYMBOLS[arm.kind], "size": 10},
        row=1,
        col=2,
    )


def _neutral_legend(made: go.Figure) -> None:
    made.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name="from neutral",
        marker={"color": OFF, "symbol": "square", "size": 8},
        row=1,
        col=2,
    )


def _arrow(made: go.Figure, step: _Step) -> None:
    x0, y0 = step.accuracy.before, step.alignment.before
    if x0 is None or y0 is None or step.accuracy.after is None or step.alignment.after is None:
        return
    clear, whole = step.call == "up", not step.category
    colour = ARM_COLOURS[step.arm.kind] if clear else OFF
    shape = step.region.outline()
    if shape:
        made.add_scatter(
            x=[x0 + x for x, _ in shape],
            y=[y0 + y for _, y in shape],
            mode="lines",
            line={"color": faded(colour, 0.55), "width": 1, "dash": "solid" if clear else "dot"},
            fill="toself",
            fillcolor=faded(colour, 0.14 if whole else 0.07),
            hoverinfo="skip",
            showlegend=False,
            row=1,
            col=2,
        )
    pick = step.arm.pick_of(step.category)
    neutral = Pick(arm="neutral", category=step.category).to_text()
    made.add_scatter(
        x=[x0, step.accuracy.after],
        y=[y0, step.alignment.after],
        mode="lines+markers+text",
        line={"color": colour, "width": 3.4 if whole else 1.6, "dash": "solid" if clear else "dot"},
        marker={
            "symbol": ["square", _head(step)],
            "angleref": "previous",
            "size": [8, 17 if whole else 13],
            "color": [OFF, colour],
        },
        text=["", "<b>All</b>" if whole else step.label],
        textposition=_side(step),
        textfont_size=12.5 if whole else 11.5,
        customdata=[neutral, pick],
        hovertemplate=[_hover_neutral(step), _hover(step)],
        showlegend=False,
        cliponaxis=False,
        row=1,
        col=2,
    )


def _head(step: _Step) -> str:
    """The sign at an arrow's end; one that goes nowhere has no direction."""
    if step.call == "too few":
        return "circle-open-dot"
    moves = [e.estimate.value or 0.0 for e in (step.accuracy, step.alignment)]
    if max(abs(v) for v in moves) < _STILL:
        return "circle-open"
    return "arrow" if step.call in ("up", "down") else "arrow-open"


def _range(steps: list[_Step], score: str) -> list[float]:
    """What the axis shows: all means and interval ends, but no score below 0 or above 1."""
    ends = []
    for step in steps:
        effect: Effect = getattr(step, score)
        if effect.before is not None:
            moves = (0.0, effect.estimate.value, effect.estimate.low, effect.estimate.high)
            ends += [effect.before + v for v in moves if v is not None]
    low, high = max(0.0, min(ends, default=0.0)), min(1.0, max(ends, default=1.0))
    room = max(0.02, 0.07 * (high - low))
    return [low - room, high + room]


def _side(step: _Step) -> str:
    gained = (step.accuracy.estimate.value or 0) >= 0
    return "middle right" if gained else "middle left"


def _mark(made: go.Figure, step: _Step, place: int, *, vertical: bool) -> None:
    """A category with one score: from neutral to the arm along that score's axis."""
    effect = step.alignment if vertical else step.accuracy
    if effect.before is None or effect.after is None:
        return
    clear = effect.is_clear
    colour = ARM_COLOURS[step.arm.kind] if clear else OFF
    shift = 0.16 if step.arm.kind == "adapter" else -0.16
    along, across = [effect.before, effect.after], [place + shift] * 2
    bars = bars_of([effect.estimate, effect.estimate], faded(colour, 0.5))
    bars["array"][0] = bars["arrayminus"][0] = None
    made.add_scatter(
        x=across if vertical else along,
        y=along if vertical else across,
        mode="lines+markers",
        line={"color": colour, "width": 1.6},
        marker={
            "symbol": ["square", _head(step)],
            "angleref": "previous",
            "size": [6, 12],
            "color": [OFF, colour],
        },
        error_y=bars if vertical else None,
        error_x=None if vertical else bars,
        customdata=[
            Pick(arm="neutral", category=step.category).to_text(),
            step.arm.pick_of(step.category),
        ],
        hovertemplate=[_hover_neutral(step), _hover(step)],
        showlegend=False,
        row=1 if vertical else 2,
        col=1 if vertical else 2,
    )


def _hover_neutral(step: _Step) -> str:
    parts = [f"<b>{step.label}</b>, neutral"]
    for name, effect in (("accuracy", step.accuracy), ("alignment", step.alignment)):
        if effect.before is not None:
            parts.append(f"{name} {effect.before:.1%}")
    return "<br>".join(parts) + "<extra></extra>"


def _hover(step: _Step) -> str:
    parts = [f"<b>{step.label}</b>, {plain(step.arm.title)}"]
    for name, effect in (("accuracy", step.accuracy), ("alignment", step.alignment)):
        if effect.estimate.n:
            parts.append(f"{name} {effect_text(effect.estimate)}")
    return "<br>".join(parts) + "<extra></extra>"


def _overlay(made: go.Figure) -> None:
    for point in tradeoff_points():
        made.add_scatter(
            x=point.x,
            y=point.y,
            mode="lines+markers",
            name=f"reported: {point.label}",
            line={"color": point.colour, "width": 1.4, "dash": "dash"},
            marker={"symbol": ["square-open", "arrow-open"], "angleref": "previous", "size": 11},
            hovertemplate=f"reported by the paper: {point.label}<br>MMLU %{{x:.1%}}, "
            "mean of MT-Bench and safety %{y:.1%}<extra></extra>",
            row=1,
            col=2,
        )


def _table(steps: list[_Step]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    rows = []
    for s in steps:
        row: dict[str, Any] = {"arm": s.arm.title, "category": s.label}
        for name, e in (("accuracy", s.accuracy), ("alignment", s.alignment)):
            row |= {
                f"{name}, neutral": e.before,
                f"{name}, arm": e.after,
                f"{name}, change": e.estimate.value,
                f"{name}, low": e.estimate.low,
                f"{name}, high": e.estimate.high,
                f"{name}, items": e.estimate.n,
                f"{name}, verdict": CALL_WORDS[e.call] if e.estimate.n else "not measured",
            }
        rows.append(row)
    return pd.DataFrame(rows), tuple(s.arm.pick_of(s.category) for s in steps)


def _reading(steps: list[_Step], options: FigureOptions) -> str:
    parts = []
    for step in (s for s in steps if not s.category):
        parts.append(f"{step.arm.title}: {_both(step)}{_no_worse(step, options.delta)}")
    return sentence("; ".join(parts))


def _both(step: _Step) -> str:
    said = []
    for name, effect in (("accuracy", step.accuracy), ("alignment", step.alignment)):
        if effect.estimate.n:
            said.append(f"{name} {effect_text(effect.estimate)} ({CALL_WORDS[effect.call]})")
    calls = (step.accuracy.call, step.alignment.call)
    end = {
        ("down", "up"): ", so alignment is bought with accuracy",
        ("up", "up"): ", so both gain",
        ("up", "down"): ", so accuracy is bought with alignment",
        ("down", "down"): ", so both lose",
    }.get(calls, "")
    return " and ".join(said) + end


def _no_worse(step: _Step, delta: float) -> str:
    """PRISM's promise is "no worse", which "not significant" does not show."""
    if step.arm.kind != "adapter" or not step.accuracy.estimate.n:
        return ""
    verdict = noninferiority(step.accuracy.estimate, delta)
    said = {
        "non-inferior": f"in accuracy no worse than neutral by more than {delta * 100:g} points",
        "inferior": f"in accuracy worse than neutral by more than {delta * 100:g} points",
        "inconclusive": f"whether accuracy is worse by more than {delta * 100:g} points is open",
        "too few items": "too few items to say whether accuracy is no worse",
    }[verdict]
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
