"""Figure 5: is an expert better than no persona, and than any other persona (figures 2b, c)?

For each category its own expert against neutral, and against the mean of all other personas at the
same length and placement, both paired by item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prism_core.analysis.domains import OWN_EXPERT, title_of
from prism_core.analysis.effects import CALL_WORDS, Effect, effects_of
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, sentence
from prism_core.figures.canvas import HOLLOW_NOTE, ZERO_LINE, canvas, nothing
from prism_core.figures.colours import CONTROL, PERSONA, REPORTED
from prism_core.figures.dots import Dot, draw_dots, label_lines
from prism_core.figures.reported import CATEGORY_EFFECTS
from prism_core.figures.result import FigureOptions, FigureResult
from prism_core.stats import Pairs

_AGAINST = ("neutral", "the other personas")


@dataclass(frozen=True, eq=False)
class _Row:
    """One category's expert against one opponent."""

    category: str
    against: str
    effect: Effect

    @property
    def pick(self) -> str:
        persona = OWN_EXPERT[self.category]
        return Pick(arm="persona", persona=persona, category=self.category).to_text()


def expert(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 5."""
    rows = _rows(view, options)
    if not rows:
        return nothing(
            f"No category's own expert has a score for {options.score} here. Choose the other "
            "score, or loosen the filters."
        )
    shown = list(dict.fromkeys(r.category for r in rows))
    made = canvas(150 + 44 * max(2, len(shown)), x=f"change in {options.score}")
    for against, colour, symbol, shift in (
        (_AGAINST[0], PERSONA, "circle", -0.14),
        (_AGAINST[1], CONTROL, "square", 0.14),
    ):
        mine = [r for r in rows if r.against == against]
        _series(made, mine, shown, f"own expert against {against}", colour, symbol, shift)
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
    made.update_layout(margin_b=84, legend={"y": 0, "yanchor": "bottom"})
    data = pd.DataFrame([_record(r) for r in rows])
    note = (
        "The category's own expert against neutral, and against the mean of the other personas "
        f"(controls left out) at the same length and placement. {HOLLOW_NOTE}"
    )
    return FigureResult(made, data, _reading(rows), note, tuple(r.pick for r in rows))


def _rows(view: View, options: FigureOptions) -> list[_Row]:
    personas = view.persona_rows()
    places: list[tuple[str, str]] = []
    pairs: list[Pairs] = []
    for category in view.categories:
        own = view.own_experts(personas, category)
        others = np.setdiff1d(personas, own)
        columns = view.within(category)
        for against, found in (
            (_AGAINST[0], view.pairs(own, options.score, columns)),
            (_AGAINST[1], view.contrast(own, others, options.score, columns)),
        ):
            if found.n:
                places.append((category, against))
                pairs.append(found)
    return [_Row(c, a, e) for (c, a), e in zip(places, effects_of(pairs), strict=True)]


def _series(
    made: Any, rows: list[_Row], shown: list[str], name: str, colour: str, symbol: str, shift: float
) -> None:
    dots = [
        Dot(
            shown.index(r.category) + shift,
            r.effect.estimate,
            r.effect.call,
            f"<b>{title_of(r.category)}</b><br>{name}<br>{effect_text(r.effect.estimate)}",
            r.pick,
        )
        for r in rows
    ]
    draw_dots(made, dots, name=name, colour=colour, symbol=symbol)


def _record(row: _Row) -> dict[str, Any]:
    e = row.effect.estimate
    return {
        "category": title_of(row.category),
        "expert": title_of(OWN_EXPERT[row.category]),
        "against": row.against,
        "change": e.value,
        "low": e.low,
        "high": e.high,
        "items": e.n,
        "verdict": CALL_WORDS[row.effect.call],
    }


def _reading(rows: list[_Row]) -> str:
    parts = []
    for against in _AGAINST:
        mine = [r.effect for r in rows if r.against == against]
        judged = [e for e in mine if e.call != "too few"]
        if not mine:
            continue
        if not judged:
            parts.append(f"against {against} no category has the 20 items that a verdict takes")
            continue
        up, down = sum(e.call == "up" for e in judged), sum(e.call == "down" for e in judged)
        parts.append(
            f"against {against} the own expert is clearly better in {up} and clearly worse in "
            f"{down} of {len(judged)} categor{'y' if len(judged) == 1 else 'ies'}"
        )
    return sentence("; ".join(parts))
