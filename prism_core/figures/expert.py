"""Figure 5: is an expert better than no persona, and than any other persona (figures 2b, c)?

For each category its own expert against neutral, and against the mean of all other personas at the
same length and placement, both paired by item.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from prism_core.analysis.domains import OWN_EXPERT, title_of
from prism_core.analysis.effects import Effect, effects_at
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, sentence
from prism_core.figures.canvas import HOLLOW_NOTE, ZERO_LINE, canvas, legend_below, nothing
from prism_core.figures.colours import CONTROL, PERSONA, REPORTED
from prism_core.figures.marks import Dot, draw_dots, label_lines
from prism_core.figures.reported import CATEGORY_EFFECTS
from prism_core.figures.result import FigureOptions, FigureResult, effect_columns

_AGAINST = ("neutral", "the other personas")

Rows = list[tuple[tuple[str, str], Effect]]
"""A category and whom its expert is compared with, and the effect."""


def expert(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 5."""
    rows = _rows(view, options)
    if not rows:
        return nothing(
            f"No category's own expert has a score for {options.score} here. Choose the other "
            "score, or loosen the filters."
        )
    shown = list(dict.fromkeys(category for (category, _), _ in rows))
    made = canvas(150 + 44 * max(2, len(shown)), x=f"change in {options.score}")
    for opponent, colour, symbol, shift in (
        (_AGAINST[0], PERSONA, "circle", -0.14),
        (_AGAINST[1], CONTROL, "square", 0.14),
    ):
        name = f"own expert against {opponent}"
        dots = [
            Dot(
                shown.index(category) + shift,
                effect.estimate,
                effect.call,
                f"<b>{title_of(category)}</b><br>{name}<br>{effect_text(effect.estimate)}",
                _pick(category),
            )
            for (category, against), effect in rows
            if against == opponent
        ]
        draw_dots(made, dots, name=name, colour=colour, symbol=symbol)
    if options.overlay and options.score == "alignment":
        known = [c for c in shown if c in CATEGORY_EFFECTS]
        made.add_scatter(
            x=[CATEGORY_EFFECTS[c] for c in known],
            y=[shown.index(c) for c in known],
            mode="markers",
            name="reported: against base, MT-Bench",
            marker={"symbol": "x-thin-open", "size": 10, "color": REPORTED},
            hovertemplate="reported by the paper: %{x:+.1%}<extra></extra>",
        )
    label_lines(made, [title_of(c) for c in shown])
    made.update_xaxes(tickformat="+.0%").add_vline(x=0, line=ZERO_LINE)
    records = [
        {
            "category": title_of(category),
            "expert": title_of(OWN_EXPERT[category]),
            "against": against,
            **effect_columns(effect),
        }
        for (category, against), effect in rows
    ]
    note = (
        "The category's own expert against neutral, and against the mean of the other personas "
        f"(controls left out) at the same length and placement. {HOLLOW_NOTE}"
    )
    picks = tuple(_pick(category) for (category, _), _ in rows)
    return FigureResult(legend_below(made, 84), pd.DataFrame(records), _reading(rows), note, picks)


def _rows(view: View, options: FigureOptions) -> Rows:
    personas = view.persona_rows()
    pairs = []
    for category in view.categories:
        own = view.own_experts(personas, category)
        others = np.setdiff1d(personas, own)
        columns = view.within(category)
        against = view.contrast(own, others, options.score, columns)
        pairs.append(((category, _AGAINST[0]), view.pairs(own, options.score, columns)))
        pairs.append(((category, _AGAINST[1]), against))
    return effects_at(pairs)


def _pick(category: str) -> str:
    return Pick(arm="persona", persona=OWN_EXPERT[category], category=category).to_text()


def _reading(rows: Rows) -> str:
    parts = []
    for opponent in _AGAINST:
        mine = [effect for (_, against), effect in rows if against == opponent]
        judged = [e for e in mine if e.call != "too few"]
        if not mine:
            continue
        if not judged:
            parts.append(f"against {opponent} no category has the 20 items that a verdict takes")
            continue
        up, down = sum(e.call == "up" for e in judged), sum(e.call == "down" for e in judged)
        parts.append(
            f"against {opponent} the own expert is clearly better in {up} and clearly worse in "
            f"{down} of {len(judged)} categor{'y' if len(judged) == 1 else 'ies'}"
        )
    return sentence("; ".join(parts))
