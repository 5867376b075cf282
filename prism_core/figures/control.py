"""Figure 9: the control check: is it the persona, or just a long prompt?

A control is a text of a persona's length and place that describes nobody. Three paired differences
decide: persona minus neutral, control minus neutral, and persona minus control. Of several controls
the neutral text counts alone, for the others describe somebody after all: a plain assistant, or a
person who has nothing to do with the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from prism_core.analysis.domains import LENGTH_TITLES
from prism_core.analysis.effects import Effect, effects_at
from prism_core.analysis.grid import SCORE_NAMES, ScoreName
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, sentence
from prism_core.figures.canvas import HOLLOW_NOTE, ZERO_LINE, legend_below, nothing, score_panels
from prism_core.figures.colours import CONTROL, NEUTRAL, PERSONA
from prism_core.figures.marks import Dot, draw_dots, label_lines
from prism_core.figures.result import FigureOptions, FigureResult, effect_columns
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
    made = score_panels(170 + 76 * len(lengths), shown)
    for place, contrast in enumerate(_CONTRASTS):
        colour, symbol = _LOOKS[contrast]
        for column, score in enumerate(shown, 1):
            dots = [
                Dot(
                    lengths.index(r.length) + 0.24 * (place - 1),
                    r.effect.estimate,
                    r.effect.call,
                    f"<b>{contrast}</b><br>{effect_text(r.effect.estimate)}",
                    r.pick,
                )
                for r in rows
                if r.contrast == contrast and r.score == score
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
    label_lines(made, [LENGTH_TITLES.get(x, "all lengths") for x in lengths])
    made.update_xaxes(tickformat="+.0%", title_text="change").add_vline(x=0, line=ZERO_LINE)
    records = [
        {
            "score": r.score,
            "length": LENGTH_TITLES.get(r.length, "all"),
            "contrast": r.contrast,
            **effect_columns(r.effect),
        }
        for r in rows
    ]
    note = (
        "Control texts have a persona's length and place but describe nobody; persona minus "
        "control is paired by item at the same model, length and placement. " + HOLLOW_NOTE
    )
    return FigureResult(
        legend_below(made, 88),
        pd.DataFrame(records),
        _reading(rows, options.delta),
        note,
        tuple(r.pick for r in rows),
    )


def _rows(view: View) -> list[_Row]:
    personas, controls = view.persona_rows(), view.persona_rows(controls=True)
    nobody = view.split(controls, "persona").get(_NOBODY)
    text = "" if nobody is None else _NOBODY
    controls = controls if nobody is None else nobody
    mine, theirs = view.split(personas, "length"), view.split(controls, "length")
    blocks = [(x, mine[x], theirs[x]) for x in LENGTHS if x in mine and x in theirs]
    if len([x for x in LENGTHS if x in mine]) < 2:
        blocks = []  # one length is the same as all
    pairs: list[tuple[tuple[ScoreName, str, str], Pairs]] = []
    for length, ours, others in [*blocks, ("", personas, controls)]:
        for score in SCORE_NAMES:
            pairs.append(((score, length, _CONTRASTS[0]), view.pairs(ours, score)))
            pairs.append(((score, length, _CONTRASTS[1]), view.pairs(others, score)))
            pairs.append(((score, length, _CONTRASTS[2]), view.contrast(ours, others, score)))
    return [_Row(*place, effect, text) for place, effect in effects_at(pairs)]


def _reading(rows: Sequence[_Row], delta: float) -> str:
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
        return f"a text that describes nobody does the same, within {delta * 100:g} points"
    if text.is_clear:
        return (
            "a text that describes nobody moves it too; whether the persona adds to that, or takes "
            f"from it, by more than {delta * 100:g} points is open"
        )
    return "persona and control text cannot be told apart here"
