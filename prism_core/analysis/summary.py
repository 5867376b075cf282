"""What a study says, in numbers: effects, joint regions, interactions, and the gate's decisions.

Everything is paired by item against neutral (`cell_effects`). Interactions ask whether a persona's
effect depends on the length of its text, on its placement, or on the category. A gate is held
against the per-item oracle where the adapter also answered with its gate held open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prism_core.analysis.cell_effects import (
    COMPARED,
    CellEffect,
    CellRegion,
    ComparedScore,
    cell_effects,
    cell_regions,
)
from prism_core.analysis.effects import CALL_WORDS
from prism_core.analysis.grid import SCORE_NAMES, IntArray, ScoreName, make_grid
from prism_core.analysis.view import View, make_view
from prism_core.stats import against_oracle, group_interaction, interaction, paired_difference
from prism_core.stats.checks import BoolArray
from prism_core.study.table import Study
from prism_core.types import LENGTHS, PLACEMENTS, Estimate

Factor = Literal["length", "placement", "category"]
ALPHA = 0.05
"""A corrected p below this stands."""


@dataclass(frozen=True)
class Interaction:
    """How much a persona's effect depends on something."""

    model: str
    persona: str
    factor: Factor
    contrast: str
    """Which two conditions, such as `long - min`."""
    score: ComparedScore
    estimate: Estimate


@dataclass(frozen=True)
class GateDecisions:
    """A gate's decisions against the per-item oracle."""

    model: str
    cell: str
    score: ScoreName
    """The score on which an answer counts as better."""
    precision: Estimate
    recall: Estimate
    regret: Estimate
    ties: int


@dataclass(frozen=True)
class Summary:
    """A study in numbers."""

    name: str
    finished: bool
    answers: int
    delta: float
    """The largest loss that still counts as no worse."""
    effects: tuple[CellEffect, ...]
    regions: tuple[CellRegion, ...]
    interactions: tuple[Interaction, ...]
    gates: tuple[GateDecisions, ...]
    notes: tuple[str, ...]


def summarise(study: Study) -> Summary:
    """Compute all numbers of a study, finished or not."""
    view = make_view(make_grid(study.rows))
    return Summary(
        name=study.spec.name,
        finished=study.finished,
        answers=len(study.rows),
        delta=study.spec.delta,
        effects=cell_effects(view, study.spec.delta),
        regions=cell_regions(view),
        interactions=tuple(_interactions(view)),
        gates=tuple(_gates(view)),
        notes=study.notes,
    )


def table_lines(summary: Summary) -> list[str]:
    """Return the effects as lines of text."""
    head = (
        f"{'cell':34} {'task/category':28} {'score':9} {'neutral':>7} {'cell':>7} "
        f"{'difference [95 % interval]':30} {'n':>4} {'p Holm':>7}  verdict"
    )
    lines = [f"{summary.name}: {summary.answers:,} answers", head]
    for e in summary.effects:
        where, d = f"{e.task}/{e.category}", e.difference
        ends = "" if d.low is None or d.high is None else f" [{d.low:+.3f}, {d.high:+.3f}]"
        p = "" if e.p_holm is None else f"{e.p_holm:.3f}"
        lines.append(
            f"{e.cell[:34]:34} {where[:28]:28} {e.score:9} {_number(e.neutral):>7} "
            f"{_number(e.value):>7} {f'{d.value or 0:+.3f}{ends}':30} {d.n:>4} {p:>7}  "
            f"{_words(e)}"
        )
    return [*lines, *summary.notes]


def _words(effect: CellEffect) -> str:
    if effect.verdict == "too few":
        return "too few items"
    alone = effect.verdict != "none" and effect.p_holm is not None and effect.p_holm >= ALPHA
    said = CALL_WORDS[effect.verdict]
    return f"{said}{', but not after Holm' if alone else ''}; {effect.no_worse}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interactions(view: View) -> Iterator[Interaction]:
    cells = view.cells
    people = cells[cells["arm"] == "persona"]
    for (model, persona), own in people.groupby(["model", "persona"], sort=False):
        rows = own.index.to_numpy(dtype=np.intp)
        for score in COMPARED:
            found = [
                *_between(view, rows, score, "length", tuple(reversed(LENGTHS))),
                *_between(view, rows, score, "placement", PLACEMENTS),
                *_by_category(view, rows, score),
            ]
            for factor, contrast, estimate in found:
                yield Interaction(str(model), str(persona), factor, contrast, score, estimate)


def _between(
    view: View, rows: IntArray, score: ComparedScore, factor: Factor, order: Sequence[str]
) -> Iterator[tuple[Factor, str, Estimate]]:
    """Yield the effect under the first of the conditions present minus that under the last."""
    by_value = view.split(rows, factor)
    there = [value for value in order if value in by_value]
    if len(there) < 2:
        return
    first, last = there[0], there[-1]
    one, two = (
        view.pairs(cells, score, _known(view, cells, score))
        for cells in (by_value[first], by_value[last])
    )
    if set(one.items) & set(two.items):
        yield factor, f"{first} - {last}", interaction(one, two, bounds=(0.0, 1.0))


def _by_category(
    view: View, rows: IntArray, score: ComparedScore
) -> Iterator[tuple[Factor, str, Estimate]]:
    """Yield the effect in each category minus that in all others of the same task."""
    known = _known(view, rows, score)
    items = view.items
    for task, category in dict.fromkeys(zip(items["task"], items["category"], strict=True)):
        inside = view.within(category, task)
        outside = view.within(task=task) & ~inside
        pairs = [view.pairs(rows, score, known & where) for where in (inside, outside)]
        if min(p.n for p in pairs) >= 2:
            one, two = (paired_difference(p, bounds=(0.0, 1.0)) for p in pairs)
            yield "category", f"{task}/{category} - others", group_interaction(one, two)


def _known(view: View, rows: IntArray, score: str) -> BoolArray:
    """Return the items that all of these cells have answered."""
    return view.columns & np.isfinite(view.grid.means[score][rows]).all(axis=0)


def _gates(view: View) -> Iterator[GateDecisions]:
    """Judge every gated cell whose adapter also answered with its gate held open."""
    cells = view.cells
    for at, cell in cells[cells["arm"] == "adapter"].iterrows():
        same = (cells["adapter"] == cell["adapter"]) & (cells["model"] == cell["model"])
        always = cells.index[same & (cells["threshold"] == 0.0)].to_numpy(dtype=np.intp)
        if cell["threshold"] == 0.0 or not len(always):
            continue
        gate = view.grid.means["gate_open"][int(str(at))]
        opened = dict(zip(view.grid.keys, gate >= 0.5, strict=True))
        for score in SCORE_NAMES:
            pairs = view.pairs(always[:1], score, view.columns & np.isfinite(gate))
            if not pairs.n:
                continue
            found = against_oracle([opened[key] for key in pairs.items], pairs, bounds=(0.0, 1.0))
            rates = (found.confusion.precision, found.confusion.recall)
            where = (str(cell["model"]), str(cell["cell"]), score)
            yield GateDecisions(*where, *rates, found.regret, found.ties)
