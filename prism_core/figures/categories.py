"""Figure 2: each category's score by the length of the persona's text (the paper's figure 1a-c).

Bars are mean scores with 95 % intervals; a persona's bar is solid only where its paired difference
from neutral is an effect (exact p < 0.05). Accuracy and alignment have a panel each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from prism_core.analysis.arms import adapter_arms, length_arms
from prism_core.analysis.domains import LENGTH_TITLES, title_of
from prism_core.analysis.effects import CALL_WORDS, Effect, call_of, effects_of, rates_of
from prism_core.analysis.grid import SCORE_NAMES, IntArray, ScoreName
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.analysis.words import effect_text, listed, rate_text, sentence
from prism_core.figures.canvas import legend_below, nothing, panels, plain
from prism_core.figures.colours import ADAPTER, LENGTH_COLOURS, OFF, REPORTED, faded
from prism_core.figures.marks import bars_of, legend_entry
from prism_core.figures.reported import MMLU_BY_LENGTH
from prism_core.figures.result import FigureOptions, FigureResult, interval_columns
from prism_core.stats import interaction
from prism_core.types import LENGTHS, Estimate


@dataclass(frozen=True, eq=False)
class _Series:
    """One colour of bars."""

    title: str
    rows: IntArray
    colour: str
    pick: Pick
    is_neutral: bool = False


@dataclass(frozen=True, eq=False)
class _Bar:
    """One bar."""

    series: _Series
    score: ScoreName
    category: str
    mean: Estimate
    effect: Effect | None
    """None for neutral itself."""

    @property
    def is_solid(self) -> bool:
        return self.effect is None or self.effect.is_clear

    @property
    def pick(self) -> str:
        return replace(self.series.pick, category=self.category).to_text()


def categories(view: View, options: FigureOptions) -> FigureResult:
    """Draw figure 2."""
    bars = _bars(view, _series(view, options.matched), options.matched)
    shown: list[ScoreName] = [s for s in SCORE_NAMES if any(b.score == s for b in bars)]
    if not shown or all(b.series.is_neutral for b in bars):
        return nothing("No persona's or adapter's answers are left here. Loosen the filters.")
    made = panels(
        110 + 290 * len(shown),
        rows=len(shown),
        cols=1,
        vertical_spacing=0.17,
        subplot_titles=[s.capitalize() for s in shown],
    )
    named: set[str] = set()
    for bar_series in dict.fromkeys(b.series for b in bars):
        for row, score in enumerate(shown, 1):
            mine = [b for b in bars if b.series is bar_series and b.score == score]
            if mine:
                _draw(made, mine, row, show_legend=bar_series.title not in named)
                named.add(bar_series.title)
    if options.overlay and "accuracy" in shown:
        _overlay(made)
    made.update_yaxes(tickformat=".0%", rangemode="tozero")
    made.update_xaxes(type="category")  # else a legend's empty point would make it a number line
    made.update_layout(barmode="group", bargap=0.28, bargroupgap=0.06)
    note = (
        "Mean scores with 95 % intervals. Solid bars: the difference from neutral on the same "
        "items is an effect (exact p < 0.05); pale ones: it is none, or there are fewer than 20 "
        "items. A category is shown under each score that it has; one that several tasks share "
        "is one category, unless a filter chooses a task."
    )
    return FigureResult(
        legend_below(made, 64),
        pd.DataFrame([_record(b) for b in bars]),
        f"{_reading(bars)} {_lengths(view, options.matched)}".strip(),
        note,
        tuple(b.pick for b in bars),
    )


def _series(view: View, matched: bool) -> list[_Series]:
    pick = Pick(arm="neutral")
    found = [_Series("neutral", view.choose(pick), LENGTH_COLOURS[""], pick, True)]
    by_length = view.split(view.persona_rows(), "length")
    for length in LENGTHS:
        if length in by_length:
            pick = Pick(arm="persona", length=length, own="1" if matched else "")
            title = f"{LENGTH_TITLES[length]} persona"
            found.append(_Series(title, by_length[length], LENGTH_COLOURS[length], pick))
    for arm in adapter_arms(view):
        found.append(_Series(arm.title, arm.rows, ADAPTER, arm.pick))
    return found


def _bars(view: View, series: Sequence[_Series], matched: bool) -> list[_Bar]:
    places, means, pairs = [], [], []
    for one in series:
        for category in view.categories:
            rows = one.rows
            if matched and one.pick.arm == "persona":
                rows = view.own_experts(rows, category)
            columns = view.within(category)
            for score in SCORE_NAMES:
                values = view.item_means(rows, score, columns)
                if values.size:
                    places.append((one, score, category))
                    means.append(values)
                    pairs.append(view.pairs(rows, score, columns))
    estimates, effects = rates_of(means), effects_of(pairs)
    return [
        _Bar(one, score, category, mean, None if one.is_neutral else effect)
        for (one, score, category), mean, effect in zip(places, estimates, effects, strict=True)
    ]


def _draw(made: go.Figure, bars: Sequence[_Bar], row: int, *, show_legend: bool) -> None:
    series = bars[0].series
    if show_legend:  # a bar's own entry would take the look of its first category, pale or not
        group = {"legendgroup": series.title, "row": row, "col": 1}
        legend_entry(made, series.title, series.colour, "square", 12, **group)
    made.add_bar(
        x=[title_of(b.category) for b in bars],
        y=[b.mean.value for b in bars],
        name=plain(series.title),
        legendgroup=series.title,
        showlegend=False,
        marker={
            "color": [series.colour if b.is_solid else faded(series.colour, 0.22) for b in bars],
            "line": {"color": [series.colour if b.is_solid else OFF for b in bars], "width": 1.2},
        },
        error_y=bars_of([b.mean for b in bars], OFF),
        customdata=[b.pick for b in bars],
        hovertemplate=[_hover(b) for b in bars],
        row=row,
        col=1,
    )


def _hover(bar: _Bar) -> str:
    parts = [
        f"<b>{title_of(bar.category)}</b>, {plain(bar.series.title)}",
        f"{bar.score} {rate_text(bar.mean)}",
    ]
    if bar.effect is not None:
        parts.append(f"change {effect_text(bar.effect.estimate)}")
    return "<br>".join(parts) + "<extra></extra>"


def _overlay(made: go.Figure) -> None:
    labels = {"": "no persona", "min": "minimum persona", "long": "long persona"}
    dashes = {"": "solid", "min": "dash", "long": "dot"}
    for length, value in MMLU_BY_LENGTH.items():
        made.add_hline(
            y=value,
            line={"color": REPORTED, "width": 1.2, "dash": dashes[length]},
            row=1,
            col=1,
            name=f"reported, MMLU: {labels[length]} {value:.1%}",
            showlegend=True,
        )


def _record(bar: _Bar) -> dict[str, Any]:
    change = bar.effect.estimate if bar.effect is not None else Estimate(None, None, None, 0)
    return {
        "score": bar.score,
        "category": title_of(bar.category),
        "arm": bar.series.title,
        **interval_columns(bar.mean, "mean"),
        "items": bar.mean.n,
        **interval_columns(change, "change", "change"),
        "verdict": CALL_WORDS[bar.effect.call] if bar.effect is not None else "",
    }


def _reading(bars: Sequence[_Bar]) -> str:
    compared = [(b, b.effect.call) for b in bars if b.effect is not None]
    judged = [(b, call) for b, call in compared if call != "too few"]
    if not judged:
        return (
            f"None of the {len(compared)} bars rests on the 20 items that a verdict takes, so "
            "nothing is claimed."
        )
    worse = [b for b, call in judged if call == "down"]
    better = [b for b, call in judged if call == "up"]
    said = f"of {len(judged)} bars with enough items, {len(worse)} lie below neutral"
    said += f"{_where(worse)} and {len(better)} above{_where(better)}"
    rest = len(judged) - len(worse) - len(better)
    if rest:
        said += f"; {rest} show no clear change"
    return sentence(said)


def _lengths(view: View, matched: bool) -> str:
    """Say whether a longer text does more: the effects' difference, paired by item."""
    arms = {arm.pick.length: arm for arm in length_arms(view, matched=matched)}
    lengths = [length for length in LENGTHS if length in arms]
    if len(lengths) < 2:
        return ""
    short, long = (LENGTH_TITLES[length] for length in (lengths[0], lengths[-1]))
    said = []
    for score in SCORE_NAMES:
        first, last = (arms[length].pairs(view, score) for length in (lengths[0], lengths[-1]))
        if not first.n or not last.n:
            continue
        gap = interaction(last, first, bounds=(0.0, 1.0))
        end = {
            "up": f"moves it further up than a {short} one",
            "down": f"moves it further down than a {short} one",
            "none": f"instead of a {short} one makes no clear difference",
            "too few": f"instead of a {short} one was asked on too few items to tell",
        }[call_of(gap)]
        said.append(f"in {score} a {long} text {end} ({effect_text(gap)})")
    return sentence("; ".join(said))


def _where(bars: Sequence[_Bar]) -> str:
    names = list(dict.fromkeys(title_of(b.category) for b in bars))
    return f" ({listed(names, 3)})" if names else ""
