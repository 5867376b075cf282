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

from prism_core.analysis.effects import Call, call_of, effects_of, p_values
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
    """The model."""
    cell: str
    """The cell."""
    arm: str
    """Its arm."""
    task: str
    """The task, or `all`."""
    category: str
    """The category, or `all`."""
    score: ComparedScore
    """Which score."""
    neutral: float | None
    """Neutral's mean on these items."""
    value: float | None
    """The cell's mean on these items."""
    difference: Estimate
    """The mean difference of the items, with its interval."""
    p: float | None
    """Two-sided p: exact McNemar for right/wrong, else Wilcoxon or a permutation."""
    p_holm: float | None
    """The same after Holm's correction; None for the `all` rows, which repeat the others."""
    verdict: Call
    """What the interval allows to say."""
    no_worse: NonInferiorityVerdict
    """Whether it is no worse than neutral by more than the study's delta."""


@dataclass(frozen=True)
class CellRegion:
    """Where accuracy and alignment of a cell lie together, minus neutral."""

    model: str
    """The model."""
    cell: str
    """The cell."""
    category: str
    """The category, or `all`."""
    region: JointRegion
    """The joint region of both effects."""


@dataclass(frozen=True)
class _Place:
    cell: int
    task: str
    category: str
    columns: tuple[int, ...]


def cell_effects(
    grid: ScoreGrid, delta: float, scores: Sequence[ComparedScore] = COMPARED
) -> tuple[CellEffect, ...]:
    """All effects of a study's grid.

    Args:
        grid: the study's scores by cell and item.
        delta: the largest loss that still counts as no worse.
        scores: which scores.
    """
    places = _places(grid)
    models = grid.cells["model"].tolist()
    found: list[CellEffect] = []
    for score in scores:
        for model in dict.fromkeys(grid.cells["model"]):
            own = [p for p in places if models[p.cell] == model]
            found += _of_model(grid, own, score, delta)
    return tuple(found)


def cell_regions(grid: ScoreGrid) -> tuple[CellRegion, ...]:
    """Joint regions of accuracy and alignment wherever a cell has both effects."""
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
    """One cell and its neutral on the items that have the score in both."""
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
    """The items' keys as plain texts; a column of texts is slow to index."""
    return tuple(grid.items["key"].tolist())


def _of_model(
    grid: ScoreGrid, places: Sequence[_Place], score: ComparedScore, delta: float
) -> list[CellEffect]:
    pairs = [pairs_of(grid, p.cell, score, p.columns) for p in places]
    kept = [(p, one) for p, one in zip(places, pairs, strict=True) if one.n]
    effects = effects_of([one for _, one in kept])
    tests = p_values([one for _, one in kept])
    cells = grid.cells.to_dict("records")
    found = []
    for (place, _), effect, p in zip(kept, effects, tests, strict=True):
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
                verdict=call_of(effect.estimate),
                no_worse=noninferiority(effect.estimate, delta),
            )
        )
    return _corrected(found)


def _corrected(effects: Sequence[CellEffect]) -> list[CellEffect]:
    """Holm over the single categories; the sums over them repeat the same data."""
    single = [i for i, e in enumerate(effects) if e.category != ALL]
    enough = [effects[i].p if effects[i].difference.n >= MINIMUM_ITEMS else None for i in single]
    adjusted = dict(zip(single, holm(enough), strict=True))
    return [replace(e, p_holm=adjusted.get(i)) for i, e in enumerate(effects)]


def _places(grid: ScoreGrid) -> list[_Place]:
    """Every cell but neutral, times every category, every task and everything."""
    items = grid.items
    blocks: list[tuple[str, str, tuple[int, ...]]] = []
    for (task, category), had in items.groupby(["task", "category"], sort=False):
        blocks.append((str(task), str(category), tuple(int(i) for i in had.index)))
    for task, had in items.groupby("task", sort=False):
        blocks.append((str(task), ALL, tuple(int(i) for i in had.index)))
    blocks.append((ALL, ALL, tuple(range(len(items)))))
    references = grid.cells["reference"].tolist()
    return [
        _Place(cell, task, category, columns)
        for cell, reference in enumerate(references)
        if reference not in (-1, cell)
        for task, category, columns in blocks
    ]
