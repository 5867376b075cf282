"""Figure 4: which persona lifts which category? (the paper's figure 2a).

Each cell is a persona's paired difference from neutral in one category. Coloured: the interval
leaves out 0; grey: it does not, or there are too few items. Outlined: the persona's own domain.
Among so many cells some look clear by chance alone, so the reading counts what Holm leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from prism_core.analysis.arms import Arm, persona_arms
from prism_core.analysis.domains import OWN_EXPERT, title_of
from prism_core.analysis.effects import CALL_WORDS, Effect, effects_of, holm_p
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, plural, points, sentence
from prism_core.figures.canvas import canvas, nothing
from prism_core.figures.colours import DIVERGING, INK
from prism_core.figures.result import FigureOptions, FigureResult, interval_columns

_GREY = [[0.0, "#cfd1d8"], [1.0, "#cfd1d8"]]


def lift(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 4."""
    arms = persona_arms(view)
    by_category = {c: [a.pairs(view, options.score, c) for a in arms] for c in view.categories}
    columns = [c for c, had in by_category.items() if any(p.n for p in had)]
    if not columns:
        return nothing(
            f"No persona has a score for {options.score} here. Choose the other score, or loosen "
            "the filters."
        )
    pairs = [by_category[c][i] for i in range(len(arms)) for c in columns]
    effects = effects_of(pairs)
    corrected = holm_p(effects)
    places = [(arm, category) for arm in arms for category in columns]
    made = _heatmap(arms, columns, effects)
    for y, arm in enumerate(arms):
        for x, category in enumerate(columns):
            if _is_own(arm, category):
                made.add_shape(
                    type="rect",
                    x0=x - 0.47,
                    x1=x + 0.47,
                    y0=y - 0.46,
                    y1=y + 0.46,
                    line={"color": INK, "width": 2.4},
                )
    shown = [x for x in zip(places, effects, corrected, strict=True) if x[1].estimate.n]
    records = [
        {
            "persona": arm.title,
            "category": title_of(category),
            "own domain": "yes" if _is_own(arm, category) else "",
            **interval_columns(effect.estimate),
            "items": effect.estimate.n,
            "p (Holm)": p,
            "verdict": CALL_WORDS[effect.call],
        }
        for (arm, category), effect, p in shown
    ]
    note = (
        f"Points of {options.score} (of 100) gained or lost against neutral on the same items, "
        "averaged over the lengths and placements shown. Coloured: an effect (exact p < 0.05). "
        "Grey: none is claimed, or there are fewer than 20 items (number in brackets). Outlined: "
        "the persona's own domain. Holm: corrected p over all cells "
        "with enough items (exact McNemar, sign flips or Student's t)."
    )
    own = [e for (arm, category), e in zip(places, effects, strict=True) if _is_own(arm, category)]
    reading = _reading(effects, own, corrected, options.score)
    picks = tuple(arm.pick_of(category) for (arm, category), _, _ in shown)
    return FigureResult(made, pd.DataFrame(records), reading, note, picks)


def _is_own(arm: Arm, category: str) -> bool:
    return OWN_EXPERT.get(category) == arm.pick.persona


def _heatmap(arms: list[Arm], columns: list[str], effects: list[Effect]) -> go.Figure:
    width = len(columns)
    grid = [effects[i * width : (i + 1) * width] for i in range(len(arms))]
    values = [e.estimate.value for e in effects if e.is_clear and e.estimate.value is not None]
    most = max((abs(v) for v in values), default=0.1)
    x, y = list(range(width)), list(range(len(arms)))
    picks = [[arm.pick_of(category) for category in columns] for arm in arms]
    hover = [
        [
            f"<b>{title_of(c)}</b>, {a.title}<br>{effect_text(e.estimate)}<br>{CALL_WORDS[e.call]}"
            for c, e in zip(columns, row, strict=True)
        ]
        for a, row in zip(arms, grid, strict=True)
    ]
    made = canvas(130 + 40 * len(arms))
    common: dict[str, Any] = {
        "x": x,
        "y": y,
        "customdata": picks,
        "hovertext": hover,
        "xgap": 3,
        "ygap": 3,
        "hovertemplate": "%{hovertext}<extra></extra>",
        "texttemplate": "%{text}",
        "text": [[_cell(e) for e in row] for row in grid],
    }
    made.add_heatmap(
        z=[[None if e.is_clear or e.estimate.value is None else 0.5 for e in row] for row in grid],
        zmin=0,
        zmax=1,
        colorscale=_GREY,
        showscale=False,
        **common,
    )
    made.add_heatmap(
        z=[[e.estimate.value if e.is_clear else None for e in row] for row in grid],
        zmin=-most,
        zmax=most,
        colorscale=DIVERGING,
        textfont={"color": "#14161c"},
        colorbar={"thickness": 10, "tickformat": "+.0%", "outlinewidth": 0, "len": 0.9},
        **common,
    )
    made.update_xaxes(
        tickvals=x, ticktext=[title_of(c) for c in columns], showgrid=False, side="top"
    )
    made.update_yaxes(
        tickvals=y, ticktext=[a.title for a in arms], showgrid=False, range=[len(arms) - 0.5, -0.5]
    )
    return made.update_layout(margin_t=70)


def _cell(effect: Effect) -> str:
    if effect.estimate.value is None:
        return ""
    shown = points(effect.estimate.value)
    return f"({shown})" if effect.call == "too few" else shown


def _reading(
    effects: Sequence[Effect], own: Sequence[Effect], corrected: Sequence[float | None], score: str
) -> str:
    judged = [e for e in effects if e.call != "too few"]
    if not judged:
        return f"No cell has the 20 items that a verdict on {score} takes, so nothing is claimed."
    clear = [e for e in judged if e.is_clear]
    kept = sum(p is not None and p < 0.05 for p in corrected)
    said = (
        f"{len(clear)} of {len(judged)} cells differ from neutral at p < 0.05, "
        f"{kept} of them stand after Holm's correction"
        if clear
        else f"none of the {len(judged)} cells shows a clear change in {score}"
    )
    own = [e for e in own if e.call != "too few"]
    if own:
        helped, hurt = sum(e.call == "up" for e in own), sum(e.call == "down" for e in own)
        said += (
            f"; of {plural(len(own), 'own-domain cell')} {helped} "
            f"{'is' if helped == 1 else 'are'} clearly better than neutral and {hurt} clearly worse"
        )
    return sentence(said)
