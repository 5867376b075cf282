"""How far the judge can be trusted: its choices against orders, checks, refusals and lengths.

All numbers count items; repeats and cells are averaged inside them. Agreement with checks counts
items on which an arm passed and neutral failed, or the reverse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prism_core.analysis.effects import Call, rates_of
from prism_core.analysis.view import View, mean_rows
from prism_core.stats import MINIMUM_ITEMS, length_controlled, mean_of, pearson
from prism_core.stats.checks import FloatArray
from prism_core.study.table import NEUTRAL
from prism_core.types import Estimate

COIN = 0.5
"""The preference of a judge that chooses at random."""


@dataclass(frozen=True)
class JudgeNumber:
    """One number about the judge."""

    title: str
    estimate: Estimate
    meaning: str
    is_rate: bool = True
    has_nil: bool = True
    """Whether some value of it means nothing: a coin for a rate, else 0."""

    @property
    def call(self) -> Call:
        """Whether the interval leaves out what means nothing."""
        e = self.estimate
        if not self.has_nil:
            return "up"
        if e.n < MINIMUM_ITEMS:
            return "too few"
        if e.low is None or e.high is None:
            return "none"
        nil = COIN if self.is_rate else 0.0
        return "none" if e.low <= nil <= e.high else "up" if e.low > nil else "down"


def judge_numbers(view: View) -> list[JudgeNumber]:
    """Return the numbers that are defined; none where no judge compared answers."""
    grid, cells = view.grid, view.cells
    rows = view.rows[(cells["arm"] != NEUTRAL).to_numpy()]
    references = grid.cells["reference"].to_numpy()[rows]

    def at(score: str) -> FloatArray:
        return grid.means[score][rows][:, view.columns]

    def minus_neutral(score: str) -> FloatArray:
        neutral = grid.means[score][references][:, view.columns]
        return at(score) - np.where(references[:, None] >= 0, neutral, np.nan)

    preference = at("preference")
    if not np.isfinite(preference).any():
        return []
    consistent, agreed, refused, wins = rates_of(
        [
            _by_item(at("consistent")),
            _by_item(_agreement(minus_neutral("accuracy"), preference)),
            _by_item(1 - np.abs(at("refused") - at("refused_judge"))),
            _by_item(preference),
        ]
    )
    spread = mean_of(_by_item(grid.preference_spread[rows][:, view.columns]))
    longer = minus_neutral("words")
    known = np.isfinite(longer) & np.isfinite(preference)
    won = _by_item(np.where(known, preference, np.nan)).tolist()
    words = _by_item(np.where(known, longer, np.nan)).tolist()
    control, relation = length_controlled(won, words), pearson(words, won)
    found = [
        JudgeNumber("Orders agree", consistent, "same choice in both orders"),
        JudgeNumber("Agrees with checks", agreed, "prefers the answer that passed"),
        JudgeNumber("Agrees on refusals", refused, "same as the refusal rule"),
        JudgeNumber("Win rate", wins, "P(better than neutral), mean"),
        JudgeNumber("Win rate, equal length", control.win_rate, "without what longer answers gain"),
        JudgeNumber("Words and preference (r)", relation, "above 0: longer answers win", False),
        JudgeNumber("Verbosity bias", control.bias, "gain of a far longer answer", False),
        JudgeNumber(
            "Spread over repeats", spread, "standard deviation of P over seeds", False, False
        ),
    ]
    return [n for n in found if n.estimate.value is not None]


def _by_item(values: FloatArray) -> FloatArray:
    """Return the mean of each item over cells, leaving out items without a value."""
    means = mean_rows(values)
    return means[np.isfinite(means)]


def _agreement(gap: FloatArray, preference: FloatArray) -> FloatArray:
    """Return 1 where the judge prefers the answer that a program found better, else 0.

    It is 1/2 where the judge does not choose, NaN where neither answer is better. `gap` is each
    answer's accuracy minus neutral's, `preference` is P(better than neutral).
    """
    clear = np.isfinite(gap) & (np.abs(gap) > 1e-9) & np.isfinite(preference)
    agreed = np.where(preference == COIN, 0.5, (preference > COIN) == (gap > 0))
    return np.where(clear, agreed, np.nan)
