"""Figure 7: the threshold sweep: what accuracy and alignment do as the gate's threshold moves.

Above: each score's change from neutral along the threshold, with its 95 % interval. Below: the path
through accuracy and alignment, from base (closed) to always on, with the frontier of thresholds
that no other beats in both. See `analysis/sweep_curve.py` for how it follows from known answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from prism_core.analysis.grid import ScoreName
from prism_core.analysis.pick import Pick
from prism_core.analysis.sweep_curve import Sweep, SweepPoint, frontier, sweeps_of
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, sentence
from prism_core.figures.canvas import ZERO_LINE, legend_below, nothing, panels, plain
from prism_core.figures.colours import ADAPTER, NEUTRAL, OFF, PERSONA, faded
from prism_core.figures.marks import draw_area
from prism_core.figures.result import FigureOptions, FigureResult, interval_columns
from prism_core.stats import MINIMUM_ITEMS, noninferiority

_COLOURS: dict[ScoreName, str] = {"accuracy": PERSONA, "alignment": ADAPTER}
_DASHES = ("solid", "dash", "dot")
"""One for each adapter that is drawn; more are not."""


def sweep(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 7."""
    sweeps = sweeps_of(view)
    if not sweeps:
        return nothing(
            "No adapter's gate and answers are here. Let a study answer with an adapter, best with "
            "its gate held open too, and every threshold follows."
        )
    drawn = sweeps[: len(_DASHES)]
    plane = any(len(s.curves) == 2 for s in drawn)
    made = panels(
        760 if plane else 400,
        rows=2 if plane else 1,
        cols=1,
        vertical_spacing=0.15,
        row_heights=[0.45, 0.55] if plane else [1.0],
    )
    for one, dash in zip(drawn, _DASHES, strict=False):
        for score, points in one.curves.items():
            _curve(made, one, score, points, dash, several=len(drawn) > 1)
        if len(one.curves) == 2:
            _path(made, one, several=len(drawn) > 1)
    made.update_xaxes(title_text="threshold", range=[-0.02, 1.02], row=1, col=1)
    made.update_yaxes(title_text="change from neutral", tickformat="+.0%", row=1, col=1)
    made.add_hline(y=0, line=ZERO_LINE, row=1, col=1)
    if plane:
        made.update_xaxes(title_text="accuracy", tickformat=".0%", row=2, col=1)
        made.update_yaxes(title_text="alignment", tickformat=".0%", row=2, col=1)
    note = (
        "Computed from answers that are there: the adapter's where the gate's probability reaches "
        "the threshold, the neutral one's elsewhere. Bands are 95 % intervals, paired by item, one "
        "threshold at a time. A threshold chosen on these very items looks better than it will "
        "be: choose it on some and report it on others."
    )
    if len(sweeps) > len(drawn):
        note += f" Drawn are {len(drawn)} of {len(sweeps)} adapters; all are among the numbers."
    places = [(s, score, p) for s in sweeps for score, points in s.curves.items() for p in points]
    return FigureResult(
        legend_below(made, 96),
        pd.DataFrame([_record(*place) for place in places]),
        sentence("; ".join(_reading(s, options.delta) for s in drawn)),
        note,
        tuple(s.pick for s, _, _ in places),
    )


def _curve(
    made: go.Figure,
    one: Sweep,
    score: ScoreName,
    points: Sequence[SweepPoint],
    dash: str,
    *,
    several: bool,
) -> None:
    colour = _COLOURS[score]
    xs = [min(p.threshold, 1.0) for p in points]
    if not several:
        # The curve changes in steps, each up to and with its own threshold.
        steps = [x for pair in zip([xs[0], *xs[:-1]], xs, strict=True) for x in pair]
        twice = [p.change for p in points for _ in range(2)]
        ends = [*(e.high for e in twice), *(e.low for e in twice[::-1])]
        draw_area(made, [*steps, *steps[::-1]], ends, faded(colour, 0.13))
    made.add_scatter(
        x=xs,
        y=[p.change.value for p in points],
        mode="lines+markers",
        name=plain(f"{score}, {one.title}" if several else score),
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


def _path(made: go.Figure, one: Sweep, *, several: bool) -> None:
    xs = [p.level for p in one.curves["accuracy"]]
    ys = [p.level for p in one.curves["alignment"]]
    thresholds = [p.threshold for p in one.curves["accuracy"]]
    end = f", {one.title}" if several else ""

    def draw(
        name: str, at: Sequence[int], pick: str, told: Sequence[str] | str, **how: Any
    ) -> None:
        made.add_scatter(
            x=[xs[i] for i in at],
            y=[ys[i] for i in at],
            name=plain(name + end),
            customdata=[pick] * len(at),
            hovertemplate=told,
            row=2,
            col=1,
            **how,
        )

    draw(
        "all thresholds",
        range(len(xs)),
        one.pick,
        [
            f"threshold {t:.2f}, routed {share:.0%}<br>accuracy {x:.1%}, alignment "
            f"{y:.1%}<extra></extra>"
            for t, share, x, y in zip(thresholds, one.shares, xs, ys, strict=True)
        ],
        mode="lines+markers",
        line={"color": faded(ADAPTER, 0.4), "width": 1.6},
        marker={"size": 6, "color": OFF},
    )
    best = frontier(list(zip(xs, ys, strict=True)))
    draw(
        "frontier",
        best,
        one.pick,
        [f"frontier: threshold {thresholds[i]:.2f}<extra></extra>" for i in best],
        mode="lines+markers",
        line={"color": ADAPTER, "width": 2.4},
        marker={"size": 9, "color": ADAPTER},
    )
    base = Pick(arm="neutral", model=one.model).to_text()
    marks = [("base", len(xs) - 1, NEUTRAL, "square", base)]
    if one.shares[0] == 1:
        marks.append(("always on", 0, PERSONA, "star", one.pick))
    if one.own_place is not None:
        name = f"its own threshold, {one.own:.2f}"
        marks.append((name, one.own_place, ADAPTER, "diamond", one.pick))
    for name, i, colour, symbol, pick in marks:
        told = f"{name}<br>accuracy %{{x:.1%}}, alignment %{{y:.1%}}<extra></extra>"
        line = {"width": 1.5, "color": "#ffffff"}
        look = {"size": 15, "color": colour, "symbol": symbol, "line": line}
        draw(name, [i], pick, told, mode="markers", marker=look)


def _record(one: Sweep, score: ScoreName, point: SweepPoint) -> dict[str, Any]:
    return {
        "adapter": one.title,
        "score": score,
        "threshold": point.threshold,
        "share routed": point.share,
        "level": point.level,
        **interval_columns(point.change),
        "items": point.change.n,
    }


def _reading(one: Sweep, delta: float) -> str:
    place = one.own_place
    where = "fully open" if place is None else f"at {one.own:.2f}"
    said = f"{one.title}: " + " and ".join(
        f"{score} {effect_text(points[place or 0].change)} {where}"
        for score, points in one.curves.items()
    )
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
