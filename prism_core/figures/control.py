"""Figure 9: the control check: is it the persona, or just a long prompt?

A control is a text of a persona's length and place that describes nobody. Three paired differences
decide: persona minus neutral, control minus neutral, and persona minus control. Of several controls
the neutral text counts alone, for the others describe somebody after all: a plain assistant, or a
person who has nothing to do with the question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prism_core.analysis.domains import LENGTH_TITLES
from prism_core.analysis.effects import CALL_WORDS, Effect, effects_of
from prism_core.analysis.grid import SCORE_NAMES, ScoreName
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import IntArray, View
from prism_core.analysis.words import effect_text, sentence
from prism_core.figures.canvas import HOLLOW_NOTE, ZERO_LINE, nothing, panels
from prism_core.figures.colours import CONTROL, NEUTRAL, PERSONA
from prism_core.figures.dots import Dot, draw_dots
from prism_core.figures.result import FigureOptions, FigureResult
from prism_core.stats import Pairs
from prism_core.types import LENGTHS

_CONTRASTS = ("persona minus neutral", "control minus neutral", "persona minus control")
_NOBODY = "neutral_text"
"""The control text that describes nobody."""
_LOOKS = {
    _CONTRASTS[0]: (PERSONA, "circle"),
    _CONTRASTS[1]: (CONTROL, "triangle-up"),
    _CONTRASTS[2]: (NEUTRAL, "diamond"),
}


@dataclass(frozen=True, eq=False)
class _Row:
    """One contrast at one length (or at all) for one score."""

    score: ScoreName
    length: str
    contrast: str
    effect: Effect
    text: str
    """The control text, where it is one alone."""

    @property
    def pick(self) -> str:
        is_control = self.contrast == _CONTRASTS[1]
        return Pick(
            arm="persona",
            persona=self.text if is_control else "",
            persona_kind="control" if is_control else "",
            length=self.length,
        ).to_text()


def control(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 9."""
    if not len(view.persona_rows(controls=True)) or not len(view.persona_rows()):
        return nothing(
            "The check needs personas and a control text in one study, and one of them is not "
            "here. Loosen the filters, or add a control such as neutral_text to a study."
        )
    rows = _rows(view)
    shown = [s for s in SCORE_NAMES if any(r.score == s for r in rows)]
    lengths = list(dict.fromkeys(r.length for r in rows))
    labels = [LENGTH_TITLES.get(x, "all lengths") for x in lengths]
    made = panels(
        170 + 76 * len(lengths),
        rows=1,
        cols=max(1, len(shown)),
        shared_yaxes=True,
        horizontal_spacing=0.06,
        subplot_titles=[s.capitalize() for s in shown],
    )
    for place, contrast in enumerate(_CONTRASTS):
        colour, symbol = _LOOKS[contrast]
        for column, score in enumerate(shown, 1):
            mine = [r for r in rows if r.contrast == contrast and r.score == score]
            dots = [
                Dot(
                    lengths.index(r.length) + 0.24 * (place - 1),
                    r.effect.estimate,
                    r.effect.call,
                    f"<b>{contrast}</b><br>{effect_text(r.effect.estimate)}",
                    r.pick,
                )
                for r in mine
            ]
            draw_dots(
                made,
                dots,
                name=contrast,
                colour=colour,
                symbol=symbol,
                column=column,
                legend=column == 1,
            )
    made.update_yaxes(
        range=[len(lengths) - 0.4, -0.6],
        showgrid=False,
        tickvals=list(range(len(labels))),
        ticktext=labels,
    )
    made.update_xaxes(tickformat="+.0%", title_text="change").add_vline(x=0, line=ZERO_LINE)
    made.update_layout(margin_b=88, legend={"y": 0, "yanchor": "bottom"})
    data = pd.DataFrame([_record(r) for r in rows])
    note = (
        "Control texts have a persona's length and place but describe nobody; persona minus "
        "control is paired by item at the same model, length and placement. " + HOLLOW_NOTE
    )
    reading = _reading(rows, options.delta)
    return FigureResult(made, data, reading, note, tuple(r.pick for r in rows))


def _rows(view: View) -> list[_Row]:
    cells = view.grid.cells
    personas, (controls, text) = view.persona_rows(), _controls(view)
    places: list[tuple[ScoreName, str, str]] = []
    pairs: list[Pairs] = []
    lengths = [x for x in LENGTHS if x in set(cells["length"].to_numpy()[personas])]
    for length in [*lengths, ""] if len(lengths) > 1 else [""]:
        mine, theirs = (
            rows if not length else rows[cells["length"].to_numpy()[rows] == length]
            for rows in (personas, controls)
        )
        if not len(np.asarray(theirs)):
            continue
        for score in SCORE_NAMES:
            for contrast, found in (
                (_CONTRASTS[0], view.pairs(mine, score)),
                (_CONTRASTS[1], view.pairs(theirs, score)),
                (_CONTRASTS[2], view.contrast(mine, theirs, score)),
            ):
                if found.n:
                    places.append((score, length, contrast))
                    pairs.append(found)
    return [
        _Row(*place, effect, text) for place, effect in zip(places, effects_of(pairs), strict=True)
    ]


def _controls(view: View) -> tuple[IntArray, str]:
    """The cells of the control, and its name where it is one alone."""
    found = view.persona_rows(controls=True)
    names = view.grid.cells["persona"].to_numpy()[found]
    nobody = found[names == _NOBODY]
    return (nobody, _NOBODY) if len(nobody) else (found, "")


def _record(row: _Row) -> dict[str, Any]:
    e = row.effect.estimate
    return {
        "score": row.score,
        "length": LENGTH_TITLES.get(row.length, "all"),
        "contrast": row.contrast,
        "change": e.value,
        "low": e.low,
        "high": e.high,
        "items": e.n,
        "verdict": CALL_WORDS[row.effect.call],
    }


def _reading(rows: list[_Row], delta: float) -> str:
    parts = []
    for score in SCORE_NAMES:
        mine = {r.contrast: r.effect for r in rows if r.score == score and not r.length}
        if len(mine) == 3:
            persona, text, gap = (mine[c] for c in _CONTRASTS)
            parts.append(
                f"{score}: {_verdict(persona, text, gap, delta)} (persona minus control "
                f"{effect_text(gap.estimate)})"
            )
    return sentence("; ".join(parts)) or "Personas and control share no item, so nothing follows."


def _verdict(persona: Effect, text: Effect, gap: Effect, delta: float) -> str:
    if gap.call == "too few":
        return "too few items for a verdict"
    if not persona.is_clear and not text.is_clear:
        return "neither persona nor control text changes it clearly"
    if gap.is_clear and not text.is_clear:
        return "it is the persona: a control text of the same length changes nothing clearly"
    if gap.is_clear:
        mine, theirs = persona.estimate.value or 0.0, text.estimate.value or 0.0
        if mine * theirs < 0:
            return "the persona and a control text of the same length move it to opposite sides"
        if abs(mine) < abs(theirs):
            return (
                "it is the prompt: a control text of the same length moves it even further than "
                "the persona does"
            )
        return "part of it is just the prompt: the control text moves it too, but not as far"
    bound = max(abs(gap.estimate.low or 0.0), abs(gap.estimate.high or 0.0))
    if text.is_clear and bound <= delta:
        return (
            f"a text that describes nobody does the same, within {delta * 100:g} points, so it is "
            "the prompt, not the persona"
        )
    if text.is_clear:
        return (
            "a text that describes nobody moves it too; whether the persona adds to that, or takes "
            f"from it, by more than {delta * 100:g} points is open"
        )
    return "persona and control text cannot be told apart here"
