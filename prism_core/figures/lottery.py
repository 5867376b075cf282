"""Figure 8: the persona lottery: how far scores spread over personas, and what trying k buys.

Above: every persona's mean score, with its interval, around neutral's. Below: the expected best of
k personas (the mean over all k-subsets). The best of many noisy values looks better than it is, so
the reading also says how many personas differ clearly from the mean of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from prism_core.analysis.arms import control_arms, persona_arms
from prism_core.analysis.effects import CALL_WORDS, Call, Effect, effects_of, rates_of
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, rate_text, sentence
from prism_core.figures.canvas import HOLLOW_NOTE, legend_below, nothing, panels
from prism_core.figures.colours import CONTROL, NEUTRAL, PERSONA, faded
from prism_core.figures.marks import Dot, draw_area, draw_dots, label_lines
from prism_core.figures.result import FigureOptions, FigureResult, interval_columns
from prism_core.stats import expected_best_of
from prism_core.types import Estimate


@dataclass(frozen=True, eq=False)
class _Row:
    """One persona."""

    title: str
    kind: str
    mean: Estimate
    effect: Effect
    against_others: Call
    pick: str


def lottery(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 8."""
    rows = _rows(view, options.score)
    real = [r for r in rows if r.kind == "persona"]
    if not real:
        return nothing(
            f"No persona has a score for {options.score} here. Choose the other score, or loosen "
            "the filters."
        )
    base = rates_of([view.item_means(view.choose(Pick(arm="neutral")), options.score)])[0]
    means = [r.mean.value for r in real if r.mean.value is not None]
    best = [expected_best_of(means, k) for k in range(1, len(means) + 1)]
    top = 90 + 30 * len(rows)
    whole = top + 320
    made = panels(
        whole, rows=2, cols=1, row_heights=[top / whole, 320 / whole], vertical_spacing=90 / whole
    )
    _dots(made, rows)
    _best(made, best)
    if base.value is not None:
        line = {"color": NEUTRAL, "width": 1.6, "dash": "dot"}
        made.add_vline(x=base.value, line=line, row=1, col=1)
        made.add_hline(y=base.value, line=line, row=2, col=1, name="neutral", showlegend=True)
    made.update_xaxes(tickformat=".0%", title_text=f"mean {options.score}", row=1, col=1)
    made.update_xaxes(
        title_text="personas tried (k)", dtick=1 if len(best) < 16 else 5, row=2, col=1
    )
    made.update_yaxes(tickformat=".0%", title_text=f"expected best {options.score}", row=2, col=1)
    legend_below(made, 70)
    note = (
        f"Mean {options.score} over the items, lengths and placements shown. {HOLLOW_NOTE} Here "
        "the verdict is the paired difference from neutral. The band is a jackknife interval and a "
        "little narrow; the best of many noisy values flatters itself, so measure a winner again "
        "on other items."
    )
    reading = _reading(real, base, best, options.score)
    picks = (*(r.pick for r in rows), *[Pick(arm="persona").to_text()] * len(best))
    return FigureResult(made, _table(rows, best), reading, note, picks)


def _rows(view: View, score: str) -> list[_Row]:
    arms = [*persona_arms(view), *control_arms(view)]
    scores = [view.item_means(a.rows, score) for a in arms]
    arms = [a for a, values in zip(arms, scores, strict=True) if values.size]
    means = rates_of([values for values in scores if values.size])
    personas = view.persona_rows()
    effects = effects_of([a.pairs(view, score) for a in arms])
    others = effects_of(
        [view.contrast(a.rows, np.setdiff1d(personas, a.rows), score) for a in arms]
    )
    found = [
        _Row(a.title, a.kind, mean, effect, other.call, a.pick_of())
        for a, mean, effect, other in zip(arms, means, effects, others, strict=True)
    ]
    return sorted(found, key=lambda r: -(r.mean.value or 0.0))


def _dots(made: go.Figure, rows: Sequence[_Row]) -> None:
    for kind, name, colour, symbol in (
        ("persona", "persona", PERSONA, "circle"),
        ("control", "control text", CONTROL, "triangle-up"),
    ):
        dots = [
            Dot(
                i,
                r.mean,
                r.effect.call,
                f"<b>{r.title}</b><br>{rate_text(r.mean)}<br>against neutral "
                f"{effect_text(r.effect.estimate)}",
                r.pick,
            )
            for i, r in enumerate(rows)
            if r.kind == kind
        ]
        if dots:
            draw_dots(made, dots, name=name, colour=colour, symbol=symbol)
    label_lines(made, [r.title for r in rows], row=1, col=1)


def _best(made: go.Figure, best: Sequence[Estimate]) -> None:
    ks = list(range(1, len(best) + 1))
    banded = [(k, e) for k, e in zip(ks, best, strict=True) if e.low is not None]
    if banded:
        x = [*(k for k, _ in banded), *(k for k, _ in banded[::-1])]
        y = [*(e.high for _, e in banded), *(e.low for _, e in banded[::-1])]
        draw_area(made, x, y, faded(PERSONA, 0.14), row=2)
    made.add_scatter(
        x=ks,
        y=[e.value for e in best],
        mode="lines+markers",
        name="expected best of k",
        line={"color": PERSONA, "width": 2.4, "dash": "dash"},
        marker={"size": 7},
        customdata=[Pick(arm="persona").to_text()] * len(ks),
        hovertemplate=[
            f"best of {k}: {rate_text(e)}<extra></extra>" for k, e in zip(ks, best, strict=True)
        ],
        row=2,
        col=1,
    )


def _table(rows: Sequence[_Row], best: Sequence[Estimate]) -> pd.DataFrame:
    found: list[dict[str, Any]] = [
        {
            "what": r.title,
            **interval_columns(r.mean, "mean"),
            "items": r.mean.n,
            **interval_columns(r.effect.estimate, "change from neutral", "change"),
            "verdict": CALL_WORDS[r.effect.call],
            "against the other personas": CALL_WORDS[r.against_others],
        }
        for r in rows
    ]
    found += [
        {"what": f"expected best of {k}", **interval_columns(e, "mean")}
        for k, e in enumerate(best, 1)
    ]
    return pd.DataFrame(found)


def _reading(rows: Sequence[_Row], base: Estimate, best: Sequence[Estimate], score: str) -> str:
    first, last = rows[0], rows[-1]
    if len(rows) == 1:
        return sentence(f"only one persona is shown ({first.title}), so nothing spreads")
    said = (
        f"mean {score} runs from {rate_text(last.mean)} ({last.title}) to {rate_text(first.mean)} "
        f"({first.title})"
    )
    if base.value is not None:
        said += f", neutral {rate_text(base)}"
    clear = sum(r.against_others in ("up", "down") for r in rows)
    judged = sum(r.against_others != "too few" for r in rows)
    if not judged:
        return sentence(f"{said}; too few items to tell personas apart")
    said += f"; {clear} of {judged} personas differ clearly from the mean of the others"
    gain = (best[-1].value or 0.0) - (best[0].value or 0.0)
    return sentence(
        f"{said}, and the best of all {len(rows)} lies {gain * 100:.1f} points above a "
        "persona drawn by chance"
    )
