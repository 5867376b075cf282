"""Every effect of a study: one cell against neutral in one category, on one score, paired by item.

Repeats are averaged inside their item first, so a p-value or an interval counts items and never
answers. Holm's correction runs over the whole grid of one model and score (all cells times all
categories). Below `MINIMUM_ITEMS` items numbers are shown and no verdict is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from prism_core.analysis.effects import Call, effects_at, p_values
from prism_core.analysis.grid import SCORE_NAMES, ScoreGrid, ScoreName
from prism_core.stats import (
    MINIMUM_ITEMS,
    JointRegion,
    NonInferiorityVerdict,
    Pairs,
    holm,
    joint_region,
    noninferiority,
)
from prism_core.types import Estimate

ComparedScore = Literal[ScoreName, "p_right"]
COMPARED: tuple[ComparedScore, ...] = (*SCORE_NAMES, "p_right")
ALL = "all"
"""Stands for all categories of a task, or all tasks."""


@dataclass(frozen=True)
class CellEffect:
    """One cell minus neutral, in one category, on one score."""

    model: str
    cell: str
    arm: str
    task: str
    """A task, or `all`."""
    category: str
    """A category, or `all`."""
    score: ComparedScore
    neutral: float | None
    """Neutral's mean on these items."""
    value: float | None
    """The cell's mean on these items."""
    difference: Estimate
    p: float | None
    """Two-sided p: exact McNemar for right/wrong, else Wilcoxon or a permutation."""
    p_holm: float | None
    """The same after Holm's correction; None for the `all` rows, which repeat the others."""
    verdict: Call
    no_worse: NonInferiorityVerdict
    """Whether it is no worse than neutral by more than the study's delta."""


@dataclass(frozen=True)
class CellRegion:
    """Where accuracy and alignment of a cell lie together, minus neutral."""

    model: str
    cell: str
    category: str
    """A category, or `all`."""
    region: JointRegion


@dataclass(frozen=True)
class _Place:
    cell: int
    task: str
    category: str
    columns: tuple[int, ...]


def cell_effects(grid: ScoreGrid, delta: float) -> tuple[CellEffect, ...]:
    """Return all effects of a study; `delta` is the largest loss that still counts as no worse."""
    places = _places(grid)
    models = grid.cells["model"].tolist()
    found: list[CellEffect] = []
    for score in COMPARED:
        for model in dict.fromkeys(grid.cells["model"]):
            own = [p for p in places if models[p.cell] == model]
            found += _of_model(grid, own, score, delta)
    return tuple(found)


def cell_regions(grid: ScoreGrid) -> tuple[CellRegion, ...]:
    """Return the region of accuracy and alignment wherever a cell has both effects."""
    found = []
    categories: dict[tuple[int, str], list[int]] = {}
    for place in _places(grid):
        if place.task == ALL or place.category != ALL:
            categories.setdefault((place.cell, place.category), []).extend(place.columns)
    cells = grid.cells.to_dict("records")
    for (cell, category), columns in categories.items():
        x = pairs_of(grid, cell, "accuracy", columns)
        y = pairs_of(grid, cell, "alignment", columns)
        if x.n and y.n:
            model, name = str(cells[cell]["model"]), str(cells[cell]["cell"])
            found.append(CellRegion(model, name, category, joint_region(x, y)))
    return tuple(found)


def pairs_of(grid: ScoreGrid, cell: int, score: str, columns: Sequence[int]) -> Pairs:
    """Pair one cell with its neutral one on the items that have the score in both."""
    reference = int(grid.cells["reference"].to_numpy()[cell])
    at = np.asarray(columns, dtype=np.intp)
    if reference < 0 or not len(at):
        return Pairs((), (), ())
    means = grid.means[score]
    treated, control = means[cell, at], means[reference, at]
    known = np.isfinite(treated) & np.isfinite(control)
    names = _keys(grid)
    keys = tuple(names[i] for i in at[known])
    return Pairs(keys, tuple(treated[known].tolist()), tuple(control[known].tolist()))


@lru_cache(maxsize=4)
def _keys(grid: ScoreGrid) -> tuple[str, ...]:
    """Return the items' keys as plain texts; a column of texts is slow to index."""
    return tuple(grid.items["key"].tolist())


def _of_model(
    grid: ScoreGrid, places: Sequence[_Place], score: ComparedScore, delta: float
) -> list[CellEffect]:
    pairs = [pairs_of(grid, p.cell, score, p.columns) for p in places]
    tests = p_values([one for one in pairs if one.n])
    cells = grid.cells.to_dict("records")
    found = []
    for (place, effect), p in zip(effects_at(zip(places, pairs, strict=True)), tests, strict=True):
        row = cells[place.cell]
        found.append(
            CellEffect(
                model=str(row["model"]),
                cell=str(row["cell"]),
                arm=str(row["arm"]),
                task=place.task,
                category=place.category,
                score=score,
                neutral=effect.before,
                value=effect.after,
                difference=effect.estimate,
                p=p,
                p_holm=None,
                verdict=effect.call,
                no_worse=noninferiority(effect.estimate, delta),
            )
        )
    return _corrected(found)


def _corrected(effects: Sequence[CellEffect]) -> list[CellEffect]:
    """Apply Holm to the single categories; the sums over them repeat the same data."""
    single = [i for i, e in enumerate(effects) if e.category != ALL]
    enough = [effects[i].p if effects[i].difference.n >= MINIMUM_ITEMS else None for i in single]
    adjusted = dict(zip(single, holm(enough), strict=True))
    return [replace(e, p_holm=adjusted.get(i)) for i, e in enumerate(effects)]


def _places(grid: ScoreGrid) -> list[_Place]:
    """Return every cell but neutral with every category, every task and everything."""
    items = grid.items
    blocks = [
        (str(task), str(category), tuple(had.index.tolist()))
        for (task, category), had in items.groupby(["task", "category"], sort=False)
    ]
    for task, had in items.groupby("task", sort=False):
        blocks.append((str(task), ALL, tuple(had.index.tolist())))
    blocks.append((ALL, ALL, tuple(range(len(items)))))
    references = grid.cells["reference"].tolist()
    return [
        _Place(cell, task, category, columns)
        for cell, reference in enumerate(references)
        if reference not in (-1, cell)
        for task, category, columns in blocks
    ]
