"""Figure 10: how far can the judge be trusted?

Does it keep to its choice when the order is swapped, and over repeats? Does it agree with checks
that a program made, where arms differ, and about refusals? Do longer answers win, and what is left
of the win rate at equal length? All numbers count items, repeats and cells averaged inside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from prism_core.analysis.effects import Call
from prism_core.analysis.grid import IntArray
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.analysis.words import number_text, rate_text, sentence
from prism_core.figures.canvas import ZERO_LINE, nothing, panels
from prism_core.figures.colours import CONTROL, INK, PERSONA
from prism_core.figures.dots import Dot, draw_dots
from prism_core.figures.result import FigureOptions, FigureResult
from prism_core.stats import MINIMUM_ITEMS, LengthControl, length_controlled, means_of, pearson
from prism_core.stats.checks import FloatArray
from prism_core.types import Estimate

_COIN = 0.5


@dataclass(frozen=True)
class _Row:
    """One number about the judge."""

    title: str
    estimate: Estimate
    meaning: str
    is_rate: bool = True
    has_nil: bool = True

    @property
    def call(self) -> Call:
        """Filled where the interval leaves out what means nothing: a coin, or no relation."""
        e = self.estimate
        if not self.has_nil:
            return "up"
        if e.n < MINIMUM_ITEMS:
            return "too few"
        if e.low is None or e.high is None:
            return "none"
        nil = _COIN if self.is_rate else 0.0
        return "none" if e.low <= nil <= e.high else "up" if e.low > nil else "down"


def judge(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 10."""
    rows = np.array(
        [r for r in view.rows if view.grid.cells["arm"].iat[r] != "neutral"], dtype=np.intp
    )
    preference = _at(view, rows, "preference")
    if not np.isfinite(preference).any():
        return nothing(
            "No judge compared answers here. Name a judge in a study to see how reliable it is."
        )
    found = _numbers(view, rows, preference)
    rates = [r for r in found if r.is_rate]
    others = [r for r in found if not r.is_rate]
    made = panels(
        190 + 44 * len(found),
        rows=2,
        cols=1,
        row_heights=[len(rates) + 0.6, len(others) + 0.6],
        vertical_spacing=90 / (190 + 44 * len(found)),
    )
    pick = Pick().to_text() if not rows.size else _pick(view)
    for row, part, colour in ((1, rates, PERSONA), (2, others, CONTROL)):
        dots = [
            Dot(i, r.estimate, r.call, f"<b>{r.title}</b><br>{_value(r)}<br>{r.meaning}", pick)
            for i, r in enumerate(part)
        ]
        draw_dots(made, dots, name="judge", colour=colour, row=row, legend=False)
        made.update_yaxes(
            range=[len(part) - 0.4, -0.6],
            tickvals=list(range(len(part))),
            showgrid=False,
            ticktext=[r.title for r in part],
            row=row,
            col=1,
        )
    made.update_xaxes(tickformat=".0%", range=[-0.02, 1.02], row=1, col=1)
    made.update_xaxes(range=[-1.04, 1.04], row=2, col=1)
    made.add_vline(
        x=_COIN,
        line=ZERO_LINE,
        row=1,
        col=1,
        annotation_text="a coin",
        annotation_font={"size": 11, "color": INK},
    )
    made.add_vline(x=0, line=ZERO_LINE, row=2, col=1)
    data = pd.DataFrame(
        [
            {
                "what": r.title,
                "value": r.estimate.value,
                "low": r.estimate.low,
                "high": r.estimate.high,
                "items": r.estimate.n,
                "meaning": r.meaning,
            }
            for r in found
        ]
    )
    note = (
        "Filled: the interval leaves out a coin (50 %), or no relation (0). Agreement with checks "
        "counts items on which an arm passed and neutral failed, or the reverse. The win rate at "
        "equal length takes out what longer answers gain (least squares on tanh of the difference "
        "in words, as in length-controlled AlpacaEval)."
    )
    return FigureResult(made, data, _reading(found), note, (pick,) * len(found))


def _pick(view: View) -> str:
    kinds = view.items["kind"].unique()
    return Pick(
        task="open" if "open" in set(view.items["task"]) and len(kinds) > 1 else "",
        arm="persona" if len(view.persona_rows()) else "adapter",
    ).to_text()


def _at(view: View, rows: IntArray, score: str) -> FloatArray:
    return view.grid.means[score][rows][:, view.columns]


def _by_item(values: FloatArray) -> FloatArray:
    """The mean of each item over cells; items without a value left out."""
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(sums[counts > 0] / counts[counts > 0])


def _numbers(view: View, rows: IntArray, preference: FloatArray) -> list[_Row]:
    columns: list[FloatArray] = [
        _by_item(_at(view, rows, "consistent")),
        _by_item(_agreement(view, rows, preference)),
        _by_item(_refusals(view, rows)),
        _by_item(preference),
    ]
    consistent, agreed, refused, wins = means_of(columns, bounds=(0.0, 1.0))
    spread = means_of([_by_item(view.grid.preference_spread[rows][:, view.columns])])[0]
    control, words = _length(view, rows, preference)
    found = [
        _Row("Orders agree", consistent, "same choice in both orders"),
        _Row("Agrees with checks", agreed, "prefers the answer that passed"),
        _Row("Agrees on refusals", refused, "same as the refusal rule"),
        _Row("Win rate", wins, "P(better than neutral), mean"),
        _Row("Win rate, equal length", control.win_rate, "without what longer answers gain"),
        _Row("Words and preference (r)", words, "above 0: longer answers win", False),
        _Row("Verbosity bias", control.bias, "gain of a far longer answer", False),
        _Row("Spread over repeats", spread, "standard deviation of P over seeds", False, False),
    ]
    return [r for r in found if r.estimate.value is not None]


def _agreement(view: View, rows: IntArray, preference: FloatArray) -> FloatArray:
    """1 where the judge prefers the answer that a program found better, NaN where none is."""
    gap = _at(view, rows, "accuracy") - _neutral(view, rows, "accuracy")
    clear = np.isfinite(gap) & (np.abs(gap) > 1e-9) & np.isfinite(preference)
    agreed = np.where(preference == _COIN, 0.5, (preference > _COIN) == (gap > 0))
    return np.where(clear, agreed, np.nan)


def _refusals(view: View, rows: IntArray) -> FloatArray:
    rule, said = _at(view, rows, "refused"), _at(view, rows, "refused_judge")
    return 1 - np.abs(rule - said)


def _neutral(view: View, rows: IntArray, score: str) -> FloatArray:
    references = view.grid.cells["reference"].to_numpy()[rows]
    values = view.grid.means[score][references][:, view.columns]
    return np.where(references[:, None] >= 0, values, np.nan)


def _length(view: View, rows: IntArray, preference: FloatArray) -> tuple[LengthControl, Estimate]:
    """The length-controlled win rate, and the correlation of words with preference."""
    gap = _at(view, rows, "words") - _neutral(view, rows, "words")
    known = np.isfinite(gap) & np.isfinite(preference)
    counts = known.sum(axis=0)
    some = counts > 0
    wins = np.where(known, preference, 0.0).sum(axis=0)[some] / counts[some]
    words = np.where(known, gap, 0.0).sum(axis=0)[some] / counts[some]
    return length_controlled(wins.tolist(), words.tolist()), pearson(words.tolist(), wins.tolist())


def _value(row: _Row) -> str:
    return rate_text(row.estimate) if row.is_rate else number_text(row.estimate)


def _reading(found: list[_Row]) -> str:
    by_title: dict[str, _Row] = {r.title: r for r in found}
    parts: list[str] = []
    orders = by_title.get("Orders agree")
    if orders is not None:
        parts.append(f"the judge chose the same answer in both orders in {_value(orders)}")
    agreed = by_title.get("Agrees with checks")
    if agreed is not None:
        end = {
            "up": "more often than a coin",
            "down": "less often than a coin",
            "none": "no better than a coin",
            "too few": "too few items for a verdict",
        }[agreed.call]
        parts.append(f"it sides with the programmatic checks in {_value(agreed)}, {end}")
    words = by_title.get("Words and preference (r)")
    if words is not None:
        said = {
            "up": "longer answers win",
            "down": "shorter answers win",
            "none": "length shows no clear pull",
            "too few": "too few items to see a pull of length",
        }[words.call]
        parts.append(f"{said} (r = {_value(words)})")
    wins, equal = by_title.get("Win rate"), by_title.get("Win rate, equal length")
    if wins is not None and equal is not None:
        parts.append(f"the win rate is {_value(wins)}, at equal length {_value(equal)}")
    return sentence("; ".join(parts))
