"""Every effect of a study: one cell against neutral in one category, on one score, paired by item.

Repeats are averaged inside their item first, so a p-value or an interval counts items and never
answers. Holm's correction runs over the whole grid of one model and score (all cells times all
categories). Below `MINIMUM_ITEMS` items numbers are shown and no verdict is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from prism_core.analysis.effects import Call, effects_at
from prism_core.analysis.grid import SCORE_NAMES, IntArray, ScoreName
from prism_core.analysis.view import View
from prism_core.stats import (
    MINIMUM_ITEMS,
    JointRegion,
    NonInferiorityVerdict,
    Pairs,
    holm,
    joint_region,
    noninferiority,
)
from prism_core.stats.checks import BoolArray
from prism_core.types import Estimate

ComparedScore = Literal[ScoreName, "p_right"]
COMPARED: tuple[ComparedScore, ...] = (*SCORE_NAMES, "p_right")
ALL = "all"
"""Stands for all categories of a task, or all tasks."""


@dataclass(frozen=True)
class CellEffect:
    """One cell minus neutral, in one category, on one score, with both means on these items."""

    model: str
    cell: str
    arm: str
    task: str
    """A task, or `all`."""
    category: str
    """A category, or `all`."""
    score: ComparedScore
    neutral: float | None
    value: float | None
    difference: Estimate
    p: float | None
    """Two-sided p of `stats.paired_p`: exact McNemar for right/wrong."""
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
    region: JointRegion


@dataclass(frozen=True, eq=False)
class _Place:
    """One cell, as an array of one row, and some items."""

    row: IntArray
    task: str
    category: str
    columns: BoolArray


def cell_effects(view: View, delta: float) -> tuple[CellEffect, ...]:
    """Return all effects of a study; `delta` is the largest loss that still counts as no worse."""
    places = _places(view)
    found: list[CellEffect] = []
    for score in COMPARED:
        for rows in view.split(view.rows, "model").values():
            own = [(p, view.pairs(p.row, score, p.columns)) for p in places if p.row[0] in rows]
            found += _of_model(view, own, score, delta)
    return tuple(found)


def cell_regions(view: View) -> tuple[CellRegion, ...]:
    """Return the region of accuracy and alignment wherever a cell has both effects."""
    found = []
    for row in _compared(view):
        for category in (*dict.fromkeys(view.items["category"]), ""):
            columns = view.within(category)
            x, y = (view.pairs(row, score, columns) for score in SCORE_NAMES)
            if x.n and y.n:
                model, name = (str(view.grid.cells[c].iat[row[0]]) for c in ("model", "cell"))
                found.append(CellRegion(model, name, category or ALL, joint_region(x, y)))
    return tuple(found)


def _of_model(
    view: View, cells: Sequence[tuple[_Place, Pairs]], score: ComparedScore, delta: float
) -> list[CellEffect]:
    names = view.grid.cells[["model", "cell", "arm"]].astype(str).to_dict("records")
    return _corrected(
        [
            CellEffect(
                **names[place.row[0]],
                task=place.task,
                category=place.category,
                score=score,
                neutral=effect.before,
                value=effect.after,
                difference=effect.estimate,
                p=effect.p,
                p_holm=None,
                verdict=effect.call,
                no_worse=noninferiority(effect.estimate, delta),
            )
            for place, effect in effects_at(cells)
        ]
    )


def _corrected(effects: Sequence[CellEffect]) -> list[CellEffect]:
    """Apply Holm to the single categories; the sums over them repeat the same data."""
    single = [i for i, e in enumerate(effects) if e.category != ALL]
    enough = [effects[i].p if effects[i].difference.n >= MINIMUM_ITEMS else None for i in single]
    adjusted = dict(zip(single, holm(enough), strict=True))
    return [replace(e, p_holm=adjusted.get(i)) for i, e in enumerate(effects)]


def _places(view: View) -> list[_Place]:
    """Return every cell but neutral with every category, every task and everything."""
    items = view.items
    blocks = list(dict.fromkeys(zip(items["task"], items["category"], strict=True)))
    blocks += [(task, "") for task in dict.fromkeys(items["task"])] + [("", "")]
    masks = [
        (task or ALL, category or ALL, view.within(category, task)) for task, category in blocks
    ]
    return [_Place(row, *mask) for row in _compared(view) for mask in masks]


def _compared(view: View) -> list[IntArray]:
    """Return every cell that has a neutral one, each alone."""
    references = view.grid.cells["reference"].to_numpy()
    return [np.array([i]) for i in view.rows if references[i] not in (-1, i)]
