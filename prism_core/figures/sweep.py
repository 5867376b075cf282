"""Figure 7: the threshold sweep: what accuracy and alignment do as the gate's threshold moves.

Above: each score's change from neutral along the threshold, with its 95 % interval. Below: the path
through accuracy and alignment, from base (closed) to always on, with the frontier of thresholds
that no other beats in both. See `sweep_curve.py` for how it follows from known answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prism_core.analysis.grid import SCORE_NAMES, IntArray, ScoreName
from prism_core.analysis.pick import Pick
from prism_core.analysis.sweep_curve import (
    SweepItems,
    SweepPoint,
    gates_of,
    sweep_items,
    sweep_points,
    thresholds_of,
)
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, sentence
from prism_core.figures.canvas import ZERO_LINE, nothing, panels, plain
from prism_core.figures.colours import ADAPTER, NEUTRAL, OFF, PERSONA, faded
from prism_core.figures.result import FigureOptions, FigureResult
from prism_core.stats import MINIMUM_ITEMS, noninferiority

_COLOURS: dict[ScoreName, str] = {"accuracy": PERSONA, "alignment": ADAPTER}
_MOST = 3
"""Adapters drawn at once."""
_DASHES = ("solid", "dash", "dot")


@dataclass(frozen=True, eq=False)
class _Sweep:
    """One adapter on one model."""

    title: str
    adapter: str
    model: str
    own: float | None
    shares: list[float]
    curves: dict[ScoreName, list[SweepPoint]]

    @property
    def pick(self) -> str:
        return Pick(arm="adapter", adapter=self.adapter, model=self.model).to_text()


def sweep(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 7."""
    sweeps = _sweeps(view)
    if not sweeps:
        return nothing(
            "No adapter's gate and answers are here. Let a study answer with an adapter, best with "
            "its gate held open too, and every threshold follows."
        )
    drawn = sweeps[:_MOST]
    plane = any(len(s.curves) == 2 for s in drawn)
    made = panels(
        760 if plane else 400,
        rows=2 if plane else 1,
        cols=1,
        vertical_spacing=0.15,
        row_heights=[0.45, 0.55] if plane else [1.0],
    )
    for sweep_, dash in zip(drawn, _DASHES, strict=False):
        for score, points in sweep_.curves.items():
            _curve(made, sweep_, score, points, dash, several=len(drawn) > 1)
        if len(sweep_.curves) == 2:
            _path(made, sweep_, several=len(drawn) > 1)
    made.update_xaxes(title_text="threshold", range=[-0.02, 1.02], row=1, col=1)
    made.update_yaxes(title_text="change from neutral", tickformat="+.0%", row=1, col=1)
    made.add_hline(y=0, line=ZERO_LINE, row=1, col=1)
    if plane:
        made.update_xaxes(title_text="accuracy", tickformat=".0%", row=2, col=1)
        made.update_yaxes(title_text="alignment", tickformat=".0%", row=2, col=1)
    made.update_layout(margin_b=96, legend={"y": 0, "yanchor": "bottom"})
    data, picks = _table(sweeps)
    note = (
        "Computed from answers that are there: the adapter's where the gate's probability reaches "
        "the threshold, the neutral one's elsewhere. Bands are 95 % intervals, paired by item, one "
        "threshold at a time. A threshold chosen on these very items looks better than it will "
        "be: choose it on some and report it on others."
    )
    if len(sweeps) > _MOST:
        note += f" Drawn are {_MOST} of {len(sweeps)} adapters; all are among the numbers."
    reading = sentence("; ".join(_reading(s, options.delta) for s in drawn))
    return FigureResult(made, data, reading, note, picks)


def _sweeps(view: View) -> list[_Sweep]:
    cells = view.cells
    adapters = cells[cells["arm"] == "adapter"]
    found = []
    models = view.names("model")
    for (model, name), part in adapters.groupby(["model", "adapter"], sort=False):
        rows: IntArray = part.index.to_numpy(dtype=np.intp)
        had: dict[ScoreName, SweepItems] = {s: sweep_items(view, rows, s) for s in SCORE_NAMES}
        had = {s: i for s, i in had.items() if i.n}
        thresholds = thresholds_of(list(had.values()))
        if len(thresholds) < 2:
            continue
        curves = {s: sweep_points(i, thresholds) for s, i in had.items()}
        gated = part["threshold"][part["threshold"] > 0]
        title = f"{name} on {model}" if len(models) > 1 else str(name)
        own = float(gated.iloc[0]) if len(gated) else None
        gates = gates_of(view, rows)
        shares = [float((gates >= t).mean()) for t in thresholds]
        found.append(_Sweep(title, str(name), str(model), own, shares, curves))
    return found


def _curve(
    made: Any, one: _Sweep, score: ScoreName, points: list[SweepPoint], dash: str, *, several: bool
) -> None:
    colour = _COLOURS[score]
    xs = [min(p.threshold, 1.0) for p in points]
    low = [p.change.low for p in points]
    high = [p.change.high for p in points]
    name = f"{score}, {one.title}" if several else score
    if not several:
        made.add_scatter(
            **_band(xs, low, high),
            fill="toself",
            mode="lines",
            line={"width": 0},
            fillcolor=faded(colour, 0.13),
            hoverinfo="skip",
            showlegend=False,
            row=1,
            col=1,
        )
    made.add_scatter(
        x=xs,
        y=[p.change.value for p in points],
        mode="lines+markers",
        name=plain(name),
        line={"color": colour, "width": 2.2, "dash": dash, "shape": "vh"},
        marker={"size": 6},
        customdata=[one.pick] * len(points),
        hovertemplate=[
            f"<b>{score}</b>, threshold {p.threshold:.2f}<br>routed {p.share:.0%}<br>"
            f"{effect_text(p.change)}<extra></extra>"
            for p in points
        ],
        row=1,
        col=1,
    )


def _band(
    xs: list[float], low: list[float | None], high: list[float | None]
) -> dict[str, list[float | None]]:
    """The outline of a band that changes in steps, each up to and with its own threshold."""
    steps = [x for pair in zip([xs[0], *xs[:-1]], xs, strict=True) for x in pair]
    twice = [(a, b) for a, b in zip(low, high, strict=True) for _ in range(2)]
    return {
        "x": [*steps, *steps[::-1]],
        "y": [*(b for _, b in twice), *(a for a, _ in twice[::-1])],
    }


def _path(made: Any, one: _Sweep, *, several: bool) -> None:
    xs = [p.level for p in one.curves["accuracy"]]
    ys = [p.level for p in one.curves["alignment"]]
    steps = one.curves["accuracy"]
    end = f", {one.title}" if several else ""
    best = frontier(list(zip(xs, ys, strict=True)))
    made.add_scatter(
        x=xs,
        y=ys,
        mode="lines+markers",
        name=plain(f"all thresholds{end}"),
        line={"color": faded(ADAPTER, 0.4), "width": 1.6},
        marker={"size": 6, "color": OFF},
        customdata=[one.pick] * len(xs),
        hovertemplate=[
            f"threshold {p.threshold:.2f}, routed {share:.0%}<br>accuracy {x:.1%}, alignment "
            f"{y:.1%}<extra></extra>"
            for p, share, x, y in zip(steps, one.shares, xs, ys, strict=True)
        ],
        row=2,
        col=1,
    )
    made.add_scatter(
        x=[xs[i] for i in best],
        y=[ys[i] for i in best],
        mode="lines+markers",
        name=plain(f"frontier{end}"),
        line={"color": ADAPTER, "width": 2.4},
        marker={"size": 9, "color": ADAPTER},
        customdata=[one.pick] * len(best),
        hovertemplate=[
            f"frontier: threshold {steps[i].threshold:.2f}<extra></extra>" for i in best
        ],
        row=2,
        col=1,
    )
    marks = [("base", len(xs) - 1, NEUTRAL, "square", Pick(arm="neutral", model=one.model))]
    if one.shares[0] == 1:
        pick = Pick(arm="adapter", adapter=one.adapter, model=one.model)
        marks.append(("always on", 0, PERSONA, "star", pick))
    place = _at(steps, one.own)
    if place is not None:
        pick = Pick(arm="adapter", adapter=one.adapter, model=one.model)
        marks.append((f"its own threshold, {one.own:.2f}", place, ADAPTER, "diamond", pick))
    for name, i, colour, symbol, pick in marks:
        made.add_scatter(
            x=[xs[i]],
            y=[ys[i]],
            mode="markers",
            name=plain(name + end),
            marker={
                "size": 15,
                "color": colour,
                "symbol": symbol,
                "line": {"width": 1.5, "color": "#ffffff"},
            },
            customdata=[pick.to_text()],
            hovertemplate=f"{name}<br>accuracy %{{x:.1%}}, alignment %{{y:.1%}}<extra></extra>",
            row=2,
            col=1,
        )


def frontier(points: list[tuple[float, float]]) -> list[int]:
    """The places of the points that no other beats in both, ordered by the first number."""
    order = sorted(range(len(points)), key=lambda i: (-points[i][0], -points[i][1]))
    best: list[int] = []
    highest = -np.inf
    for i in order:
        if points[i][1] > highest:
            best.append(i)
            highest = points[i][1]
    return best[::-1]


def _at(points: list[SweepPoint], threshold: float | None) -> int | None:
    """The first computed threshold that routes as this one does."""
    if threshold is None:
        return None
    return next((i for i, p in enumerate(points) if p.threshold >= threshold), None)


def _table(sweeps: list[_Sweep]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    rows: list[dict[str, Any]] = []
    picks: list[str] = []
    for one in sweeps:
        for score, points in one.curves.items():
            for p in points:
                rows.append(
                    {
                        "adapter": one.title,
                        "score": score,
                        "threshold": p.threshold,
                        "share routed": p.share,
                        "level": p.level,
                        "change": p.change.value,
                        "low": p.change.low,
                        "high": p.change.high,
                        "items": p.change.n,
                    }
                )
                picks.append(one.pick)
    return pd.DataFrame(rows), tuple(picks)


def _reading(one: _Sweep, delta: float) -> str:
    parts = []
    for score, points in one.curves.items():
        place = _at(points, one.own)
        where = "fully open" if place is None else f"at {one.own:.2f}"
        point = points[0 if place is None else place]
        parts.append(f"{score} {effect_text(point.change)} {where}")
    said = f"{one.title}: " + " and ".join(parts)
    accuracy, alignment = one.curves.get("accuracy"), one.curves.get("alignment")
    if not accuracy or not alignment:
        return said
    if min(accuracy[0].change.n, alignment[0].change.n) < MINIMUM_ITEMS:
        return said + "; too few items to recommend a threshold"
    kept = [
        (y.change.value or 0.0, x.threshold)
        for share, x, y in zip(one.shares, accuracy, alignment, strict=True)
        if noninferiority(x.change, delta) == "non-inferior" and share > 0
    ]
    if not kept or max(kept)[0] <= 0:
        return said + (
            f"; no threshold that opens at all gains alignment with accuracy no worse by more than "
            f"{delta * 100:g} points"
        )
    gain, threshold = max(kept)
    return said + (
        f"; among the thresholds with accuracy no worse by more than {delta * 100:g} points, "
        f"{threshold:.2f} has the most alignment ({gain * 100:+.1f})"
    )
