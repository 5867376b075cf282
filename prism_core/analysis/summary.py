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
import pandas as pd

from prism_core.analysis.cell_effects import (
    COMPARED,
    CellEffect,
    CellRegion,
    ComparedScore,
    cell_effects,
    cell_regions,
    pairs_of,
)
from prism_core.analysis.grid import SCORE_NAMES, ScoreGrid, ScoreName, make_grid
from prism_core.stats import (
    Pairs,
    against_oracle,
    group_interaction,
    interaction,
    paired_differences,
)
from prism_core.study.table import Study
from prism_core.types import LENGTHS, Estimate

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
    """The first effect minus the second."""


@dataclass(frozen=True)
class GateDecisions:
    """A gate's decisions against the per-item oracle."""

    model: str
    cell: str
    """The adapter's."""
    score: ScoreName
    """The score on which an answer counts as better."""
    precision: Estimate
    """Share of the opened items on which the adapter's answer was better."""
    recall: Estimate
    """Share of the items on which it would be better that were opened."""
    regret: Estimate
    """Mean score lost against always taking the better answer."""
    ties: int
    """Items on which both answers scored alike."""


@dataclass(frozen=True)
class Summary:
    """A study in numbers."""

    name: str
    finished: bool
    answers: int
    """So far."""
    delta: float
    """The largest loss that still counts as no worse."""
    effects: tuple[CellEffect, ...]
    regions: tuple[CellRegion, ...]
    interactions: tuple[Interaction, ...]
    gates: tuple[GateDecisions, ...]
    notes: tuple[str, ...]
    """What a reader should know."""


def summarise(study: Study) -> Summary:
    """Compute all numbers of a study, finished or not."""
    grid = make_grid(study.rows)
    return Summary(
        name=study.spec.name,
        finished=study.finished,
        answers=len(study.rows),
        delta=study.spec.delta,
        effects=cell_effects(grid, study.spec.delta),
        regions=cell_regions(grid),
        interactions=tuple(_interactions(grid)),
        gates=tuple(_gates(grid)),
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
        where = f"{e.task}/{e.category}"
        d = e.difference
        ends = "" if d.low is None or d.high is None else f" [{d.low:+.3f}, {d.high:+.3f}]"
        p = "" if e.p_holm is None else f"{e.p_holm:.3f}"
        lines.append(
            f"{e.cell[:34]:34} {where[:28]:28} {e.score:9} {_number(e.neutral):>7} "
            f"{_number(e.value):>7} {f'{d.value or 0:+.3f}{ends}':30} {d.n:>4} {p:>7}  "
            f"{_words(e)}"
        )
    return [*lines, *summary.notes]


def _words(effect: CellEffect) -> str:
    said = {"up": "better", "down": "worse", "none": "no clear change", "too few": "too few items"}
    if effect.verdict == "too few":
        return said["too few"]
    alone = effect.verdict != "none" and effect.p_holm is not None and effect.p_holm >= ALPHA
    return f"{said[effect.verdict]}{', but not after Holm' if alone else ''}; {effect.no_worse}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interactions(grid: ScoreGrid) -> Iterator[Interaction]:
    cells = grid.cells
    people = cells[cells["arm"] == "persona"]
    for (model, persona), own in people.groupby(["model", "persona"], sort=False):
        for score in COMPARED:
            found = [
                *_between(grid, own, score, "length", tuple(reversed(LENGTHS))),
                *_between(grid, own, score, "placement", ("system", "user")),
                *_by_category(grid, own, score),
            ]
            for factor, contrast, estimate in found:
                yield Interaction(str(model), str(persona), factor, contrast, score, estimate)


def _between(
    grid: ScoreGrid,
    cells: pd.DataFrame,
    score: ComparedScore,
    factor: Literal["length", "placement"],
    order: Sequence[str],
) -> Iterator[tuple[Factor, str, Estimate]]:
    """Yield the effect under the first of the conditions present minus that under the last."""
    there = [value for value in order if (cells[factor] == value).any()]
    if len(there) < 2:
        return
    first, last = there[0], there[-1]
    one = _mean_pairs(grid, cells.index[cells[factor] == first], score)
    two = _mean_pairs(grid, cells.index[cells[factor] == last], score)
    if set(one.items) & set(two.items):
        yield factor, f"{first} - {last}", interaction(one, two, bounds=(0.0, 1.0))


def _by_category(
    grid: ScoreGrid, cells: pd.DataFrame, score: ComparedScore
) -> Iterator[tuple[Factor, str, Estimate]]:
    """Yield the effect in each category minus that in all others of the same task."""
    pairs = _mean_pairs(grid, cells.index, score)
    keys = (grid.items[name].tolist() for name in ("key", "task", "category"))
    where = {key: (task, category) for key, task, category in zip(*keys, strict=True)}
    groups: dict[tuple[str, str], list[int]] = {}
    for position, key in enumerate(pairs.items):
        groups.setdefault(where[key], []).append(position)
    for (task, category), inside in groups.items():
        outside = [i for (t, c), had in groups.items() if t == task and c != category for i in had]
        if len(inside) < 2 or len(outside) < 2:
            continue
        one, two = paired_differences(
            [_subset(pairs, inside), _subset(pairs, outside)], bounds=(0.0, 1.0)
        )
        yield "category", f"{task}/{category} - others", group_interaction(one, two)


def _mean_pairs(grid: ScoreGrid, cells: pd.Index, score: str) -> Pairs:
    """Pair the mean of several cells with neutral, on items that all of them have."""
    columns = range(len(grid.items))
    found = [pairs_of(grid, int(cell), score, columns) for cell in cells]
    if not found:
        return Pairs((), (), ())
    shared = set(found[0].items).intersection(*(p.items for p in found))
    kept = [_subset(p, [i for i, key in enumerate(p.items) if key in shared]) for p in found]
    treated = np.mean([p.treatment for p in kept], axis=0) if shared else np.array([])
    return Pairs(kept[0].items, tuple(treated.tolist()), kept[0].control)


def _subset(pairs: Pairs, at: Sequence[int]) -> Pairs:
    return Pairs(
        tuple(pairs.items[i] for i in at),
        tuple(pairs.treatment[i] for i in at),
        tuple(pairs.control[i] for i in at),
    )


def _gates(grid: ScoreGrid) -> Iterator[GateDecisions]:
    """Judge every gated cell whose adapter also answered with its gate held open."""
    cells = grid.cells
    columns = range(len(grid.items))
    for at, cell in cells[cells["arm"] == "adapter"].iterrows():
        threshold = float(cell["threshold"])
        same = (cells["adapter"] == cell["adapter"]) & (cells["model"] == cell["model"])
        always = cells.index[same & (cells["threshold"] == 0.0)]
        if threshold == 0.0 or not len(always):
            continue
        opened = grid.means["gate_open"][int(str(at))]
        for score in SCORE_NAMES:
            pairs = pairs_of(grid, int(always[0]), score, columns)
            where = {key: i for i, key in enumerate(grid.items["key"])}
            decisions = [opened[where[key]] for key in pairs.items]
            known = [i for i, value in enumerate(decisions) if np.isfinite(value)]
            if not known:
                continue
            found = against_oracle(
                [decisions[i] >= 0.5 for i in known], _subset(pairs, known), bounds=(0.0, 1.0)
            )
            yield GateDecisions(
                model=str(cell["model"]),
                cell=str(cell["cell"]),
                score=score,
                precision=found.confusion.precision,
                recall=found.confusion.recall,
                regret=found.regret,
                ties=found.ties,
            )
