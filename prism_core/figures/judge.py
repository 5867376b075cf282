"""Figure 10: how far can the judge be trusted?

Does it keep to its choice when the order is swapped, and over repeats? Does it agree with checks
that a program made, where arms differ, and about refusals? Do longer answers win, and what is left
of the win rate at equal length? See `analysis/judge_reliability.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prism_core.analysis.judge_reliability import COIN, JudgeNumber, judge_numbers
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.analysis.words import number_text, rate_text, sentence
from prism_core.figures.canvas import ZERO_LINE, nothing, panels
from prism_core.figures.colours import CONTROL, INK, PERSONA
from prism_core.figures.marks import Dot, draw_dots, label_lines
from prism_core.figures.result import FigureOptions, FigureResult, interval_columns


def judge(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 10."""
    found = judge_numbers(view)
    if not found:
        return nothing(
            "No judge compared answers here. Name a judge in a study to see how reliable it is."
        )
    rates = [r for r in found if r.is_rate]
    others = [r for r in found if not r.is_rate]
    height = 190 + 44 * len(found)
    made = panels(
        height,
        rows=2,
        cols=1,
        row_heights=[len(rates) + 0.6, len(others) + 0.6],
        vertical_spacing=90 / height,
    )
    pick = _pick(view)
    for row, part, colour in ((1, rates, PERSONA), (2, others, CONTROL)):
        dots = [
            Dot(i, r.estimate, r.call, f"<b>{r.title}</b><br>{_value(r)}<br>{r.meaning}", pick)
            for i, r in enumerate(part)
        ]
        draw_dots(made, dots, name="judge", colour=colour, row=row, legend=False)
        label_lines(made, [r.title for r in part], row=row, col=1)
    made.update_xaxes(tickformat=".0%", range=[-0.02, 1.02], row=1, col=1)
    made.update_xaxes(range=[-1.04, 1.04], row=2, col=1)
    made.add_vline(
        x=COIN,
        line=ZERO_LINE,
        row=1,
        col=1,
        annotation_text="a coin",
        annotation_font={"size": 11, "color": INK},
    )
    made.add_vline(x=0, line=ZERO_LINE, row=2, col=1)
    records = [
        {
            "what": r.title,
            **interval_columns(r.estimate, "value"),
            "items": r.estimate.n,
            "meaning": r.meaning,
        }
        for r in found
    ]
    note = (
        "Filled: the interval leaves out a coin (50 %), or no relation (0). Agreement with checks "
        "counts items on which an arm passed and neutral failed, or the reverse. The win rate at "
        "equal length takes out what longer answers gain (least squares on tanh of the difference "
        "in words, as in length-controlled AlpacaEval)."
    )
    return FigureResult(made, pd.DataFrame(records), _reading(found), note, (pick,) * len(found))


def _pick(view: View) -> str:
    kinds = view.items["kind"].unique()
    return Pick(
        task="open" if "open" in set(view.items["task"]) and len(kinds) > 1 else "",
        arm="persona" if len(view.persona_rows()) else "adapter",
    ).to_text()


def _value(number: JudgeNumber) -> str:
    return rate_text(number.estimate) if number.is_rate else number_text(number.estimate)


def _reading(found: Sequence[JudgeNumber]) -> str:
    by_title = {r.title: r for r in found}
    parts: list[str] = []
    if orders := by_title.get("Orders agree"):
        parts.append(f"the judge chose the same answer in both orders in {_value(orders)}")
    if agreed := by_title.get("Agrees with checks"):
        end = {
            "up": "more often than a coin",
            "down": "less often than a coin",
            "none": "no better than a coin",
            "too few": "too few items for a verdict",
        }[agreed.call]
        parts.append(f"it sides with the programmatic checks in {_value(agreed)}, {end}")
    if words := by_title.get("Words and preference (r)"):
        said = {
            "up": "longer answers win",
            "down": "shorter answers win",
            "none": "length shows no clear pull",
            "too few": "too few items to see a pull of length",
        }[words.call]
        parts.append(f"{said} (r = {_value(words)})")
    wins, equal = by_title.get("Win rate"), by_title.get("Win rate, equal length")
    if wins and equal:
        parts.append(f"the win rate is {_value(wins)}, at equal length {_value(equal)}")
    return sentence("; ".join(parts))
