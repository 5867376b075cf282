"""Figure 3: does it matter where the persona's text stands? By model (the paper's figure 1d).

Points are paired differences from neutral with 95 % intervals, the text in the system turn or in
the user turn; the interaction (system minus user, paired by item) decides the reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from prism_core.analysis.domains import PLACEMENT_TITLES
from prism_core.analysis.effects import Effect, call_of, effects_of
from prism_core.analysis.grid import SCORE_NAMES, ScoreName
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, sentence
from prism_core.figures.canvas import (
    HOLLOW_NOTE,
    ZERO_LINE,
    legend_below,
    nothing,
    plain,
    score_panels,
)
from prism_core.figures.colours import OFF, PLACEMENT_COLOURS, PLACEMENT_SYMBOLS, REPORTED
from prism_core.figures.marks import bars_of, label_lines, markers
from prism_core.figures.reported import PLACEMENTS
from prism_core.figures.result import FigureOptions, FigureResult, effect_columns
from prism_core.stats import Pairs, interaction

_SHIFT = {"system": -0.14, "user": 0.14}
"""How far each placement stands from its line."""


@dataclass(frozen=True, eq=False)
class _Point:
    """One model, placement and score."""

    model: str
    placement: str
    score: ScoreName
    pairs: Pairs
    effect: Effect

    @property
    def pick(self) -> str:
        return Pick(model=self.model, arm="persona", placement=self.placement).to_text()


def placement(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 3."""
    found = _points(view)
    if not found:
        return nothing("No persona's answers are left here. Loosen the filters.")
    shown = [s for s in SCORE_NAMES if any(p.score == s for p in found)]
    models = list(dict.fromkeys(p.model for p in found))
    reported = list(dict.fromkeys(r.model for r in PLACEMENTS)) if options.overlay else []
    labels = [*(plain(m, 30) for m in models), *(f"{m}<br>reported" for m in reported)]
    made = score_panels(150 + 46 * max(3, len(labels)), shown)
    for name in PLACEMENT_TITLES:
        for column, score in enumerate(shown, 1):
            mine = [p for p in found if p.placement == name and p.score == score]
            _draw(made, mine, name, models, column)
    if options.overlay:
        for column, score in enumerate(shown, 1):
            _overlay(made, score, reported, len(models), column)
    made.update_xaxes(tickformat="+.0%", title_text="change").add_vline(x=0, line=ZERO_LINE)
    label_lines(made, labels)
    records = [
        {"score": p.score, "model": p.model, "placement": p.placement, **effect_columns(p.effect)}
        for p in found
    ]
    note = (
        "Change against neutral, paired by item, averaged over the personas and lengths shown. "
        f"{HOLLOW_NOTE}"
    )
    if options.overlay:
        note += " Crosses: reported by the paper (MMLU; mean of MT-Bench and safety), not ours."
    picks = tuple(p.pick for p in found)
    return FigureResult(legend_below(made, 60), pd.DataFrame(records), _reading(found), note, picks)


def _points(view: View) -> list[_Point]:
    places, pairs = [], []
    by_model = view.split(view.persona_rows(), "model")
    for model in view.names("model"):
        by_placement = view.split(by_model.get(model, view.rows[:0]), "placement")
        for name in PLACEMENT_TITLES:
            for score in SCORE_NAMES:
                found = view.pairs(by_placement.get(name, view.rows[:0]), score)
                if found.n:
                    places.append((model, name, score))
                    pairs.append(found)
    return [
        _Point(*place, pair, effect)
        for place, pair, effect in zip(places, pairs, effects_of(pairs), strict=True)
    ]


def _draw(
    made: go.Figure, mine: Sequence[_Point], name: str, models: Sequence[str], column: int
) -> None:
    colour = PLACEMENT_COLOURS[name]
    made.add_scatter(
        x=[p.effect.estimate.value for p in mine],
        y=[models.index(p.model) + _SHIFT[name] for p in mine],
        mode="markers",
        name=f"text in the {PLACEMENT_TITLES[name]}",
        legendgroup=name,
        showlegend=column == 1,
        marker=markers([p.effect.call for p in mine], colour, PLACEMENT_SYMBOLS[name], colour),
        error_x=bars_of([p.effect.estimate for p in mine], OFF),
        customdata=[p.pick for p in mine],
        hovertemplate=[
            f"<b>{plain(p.model)}</b>, {PLACEMENT_TITLES[name]}<br>{p.score} "
            f"{effect_text(p.effect.estimate)}<extra></extra>"
            for p in mine
        ],
        row=1,
        col=column,
    )


def _overlay(
    made: go.Figure, score: ScoreName, models: Sequence[str], first: int, column: int
) -> None:
    x, y, text = [], [], []
    for row in PLACEMENTS:
        value = row.mmlu
        if score == "alignment":
            both = [v for v in (row.mt_bench, row.safety) if v is not None]
            value = sum(both) / len(both) if both else None
        if value is not None:
            x.append(value)
            y.append(first + models.index(row.model) + _SHIFT[row.placement])
            text.append(f"{row.model}, {PLACEMENT_TITLES[row.placement]}")
    made.add_scatter(
        x=x,
        y=y,
        text=text,
        mode="markers",
        name="reported by the paper",
        legendgroup="reported",
        showlegend=column == 1,
        marker={"symbol": "x-thin-open", "size": 9, "color": REPORTED},
        hovertemplate="reported: %{text}<br>%{x:+.1%}<extra></extra>",
        row=1,
        col=column,
    )


def _reading(found: Sequence[_Point]) -> str:
    said = []
    for model in dict.fromkeys(p.model for p in found):
        for score in SCORE_NAMES:
            mine = {p.placement: p for p in found if p.model == model and p.score == score}
            if len(mine) == 2:
                said.append(_difference(mine["system"], mine["user"]))
    if not said:
        only = PLACEMENT_TITLES[min(p.placement for p in found)]
        return sentence(f"only the {only} was tried, so placements cannot be compared")
    return sentence("; ".join(said))


def _difference(system: _Point, user: _Point) -> str:
    gap = interaction(system.pairs, user.pairs, bounds=(0.0, 1.0))
    end = {
        "up": "the system turn does better",
        "down": "the user turn does better",
        "none": "the turn makes no clear difference",
        "too few": "too few items to tell the turns apart",
    }[call_of(gap)]
    where = f"for {system.model} in {system.score}"
    return f"{where} {end} (system minus user {effect_text(gap)})"
