"""Figure 6: does the gate open where a persona helps (the paper's figure 4)?

One point for each category and score: the share of its answers that the adapter gave, against the
persona's effect there. Pearson's r and Spearman's rho count points as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from prism_core.analysis.arms import Arm, adapter_arms
from prism_core.analysis.domains import title_of
from prism_core.analysis.effects import Effect, effects_at, rates_of
from prism_core.analysis.grid import SCORE_NAMES, ScoreName
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, number_text, rate_text, sentence
from prism_core.figures.canvas import HOLLOW_NOTE, ZERO_LINE, canvas, legend_below, nothing, plain
from prism_core.figures.colours import ADAPTER, OFF, REPORTED
from prism_core.figures.marks import bars_of, legend_entry, markers
from prism_core.figures.reported import ROUTING_R, ROUTING_RHO
from prism_core.figures.result import FigureOptions, FigureResult, effect_columns, interval_columns
from prism_core.stats import pearson, spearman
from prism_core.types import Estimate

_SYMBOLS: dict[ScoreName, str] = {"accuracy": "circle", "alignment": "diamond"}


@dataclass(frozen=True, eq=False)
class _Point:
    """One category and score under one adapter."""

    arm: Arm
    category: str
    score: ScoreName
    share: Estimate
    effect: Effect


def routing(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 6."""
    arms = [a for a in adapter_arms(view) if not a.title.endswith("always on")]
    if not arms:
        return nothing("No adapter with a gate took part here, so nothing was routed.")
    points = [p for arm in arms for p in _points(view, arm, options)]
    if not points:
        return nothing("No persona's answers are left to compare with. Loosen the filters.")
    made = canvas(460, x="share routed to the adapter", y="the persona's effect")
    for score in SCORE_NAMES:
        mine = [p for p in points if p.score == score]
        if mine:
            _draw(made, mine, score)
    made.update_xaxes(tickformat=".0%", range=[-0.04, 1.04])
    made.update_yaxes(tickformat="+.0%").add_hline(y=0, line=ZERO_LINE)
    legend_below(made, 84)
    if options.overlay:
        made.add_annotation(
            text=f"reported by the paper: r = {ROUTING_R}, rho = {ROUTING_RHO}",
            x=0.01,
            y=0.99,
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="top",
            showarrow=False,
            font={"color": REPORTED, "size": 12.5},
            name="reported",
        )
    records = [
        {
            "adapter": p.arm.title,
            "category": title_of(p.category),
            "score": p.score,
            **interval_columns(p.share, "share routed", "share"),
            **effect_columns(p.effect, "persona's effect"),
        }
        for p in points
    ]
    note = (
        "The persona's effect is paired by item and averaged over the personas shown. Correlations "
        "count each point as one, with intervals on Fisher's z scale; a category with both scores "
        f"is two points. {HOLLOW_NOTE}"
    )
    picks = tuple(p.arm.pick_of(p.category) for p in points)
    return FigureResult(made, pd.DataFrame(records), _reading(points), note, picks)


def _points(view: View, arm: Arm, options: FigureOptions) -> list[_Point]:
    personas = view.persona_rows()
    opened, pairs = {}, []
    for category in view.categories:
        columns = view.within(category)
        opened[category] = view.item_means(arm.rows, "gate_open", columns)
        if not opened[category].size:
            continue
        rows = view.own_experts(personas, category) if options.matched else personas
        for score in SCORE_NAMES:
            pairs.append(((category, score), view.pairs(rows, score, columns)))
    found = effects_at(pairs)
    shares = rates_of([opened[category] for (category, _), _ in found])
    return [
        _Point(arm, category, score, share, effect)
        for ((category, score), effect), share in zip(found, shares, strict=True)
    ]


def _draw(made: go.Figure, points: Sequence[_Point], score: ScoreName) -> None:
    name, symbol = f"effect on {score}", _SYMBOLS[score]
    legend_entry(made, name, ADAPTER, symbol, legendgroup=score)
    made.add_scatter(
        x=[p.share.value for p in points],
        y=[p.effect.estimate.value for p in points],
        mode="markers+text",
        text=[title_of(p.category) for p in points],
        textposition="top center",
        textfont_size=11.5,
        name=name,
        legendgroup=score,
        showlegend=False,
        cliponaxis=False,
        marker=markers([p.effect.call for p in points], ADAPTER, symbol),
        error_x=bars_of([p.share for p in points], OFF),
        error_y=bars_of([p.effect.estimate for p in points], OFF),
        customdata=[p.arm.pick_of(p.category) for p in points],
        hovertemplate=[
            f"<b>{title_of(p.category)}</b>, {plain(p.arm.title)}<br>routed {rate_text(p.share)}"
            f"<br>{score} {effect_text(p.effect.estimate)}<extra></extra>"
            for p in points
        ],
    )


def _reading(points: Sequence[_Point]) -> str:
    parts = []
    for title in dict.fromkeys(p.arm.title for p in points):
        mine = [p for p in points if p.arm.title == title]
        shares = [p.share.value or 0.0 for p in mine]
        effects = [p.effect.estimate.value or 0.0 for p in mine]
        r, rho = pearson(shares, effects), spearman(shares, effects)
        parts.append(f"{title}: {_meaning(r)} (r = {number_text(r)}; rho = {number_text(rho)})")
    return sentence("; ".join(parts))


def _meaning(r: Estimate) -> str:
    if r.value is None or r.low is None or r.high is None:
        return "too few or too similar points to tell whether the gate opens where personas help"
    if r.low > 0:
        return "the gate opens more where personas help more"
    if r.high < 0:
        return "the gate opens more where personas help less"
    return "no clear relation between where the gate opens and where personas help"
