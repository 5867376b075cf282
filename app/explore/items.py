"""The items behind a point: which answers changed against neutral, and in which way.

Repeats of one item in one cell collapse into one entry with their mean scores. Which entries there
are, and their order (flips first), is decided on the grid of scores, so that 200,000 answers take
no longer than a page of them; texts are read for the page alone, and for a search.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import pandas as pd

from app.services.study_shelf import OpenStudy
from prism_core.analysis import Pick, View
from prism_core.analysis.domains import OWN_EXPERT
from prism_core.analysis.grid import IntArray
from prism_core.stats.checks import BoolArray, FloatArray

PAGE = 8
"""Entries on one page."""
Change = Literal["lost", "gained", "same"]
Which = Literal["flips", "lost", "gained", "all"]
WHICH: tuple[Which, ...] = ("flips", "lost", "gained", "all")
MAX_SEARCH = 200
_REPEATS = 8
_MEANS = ("accuracy", "alignment", "preference", "p_right", "gate")


@dataclass(frozen=True)
class ItemFilter:
    """Which entries are wanted."""

    which: Which = "all"
    text: str = ""
    only_different: bool = False
    """Leave out answers that are the same as neutral's, letter by letter."""


@dataclass(frozen=True)
class ShownAnswer:
    """One arm's answers to one item, repeats collapsed; the scores are means over the repeats."""

    title: str
    text: str
    repeats: int
    different: int
    """How many of the repeats differ from each other."""
    others: tuple[str, ...]
    """Further answers that differ, at most a few."""
    accuracy: float | None
    alignment: float | None
    preference: float | None
    """P(better than neutral)."""
    p_right: float | None
    gate: float | None
    """P(persona helps), as the gate said."""


@dataclass(frozen=True)
class ItemEntry:
    """One item in one cell, beside its neutral answer."""

    task: str
    category: str
    item: str
    question: str
    choices: str
    """A JSON list; empty for none."""
    right: int | None
    """Index of the right choice."""
    harmful: bool | None
    """Whether it should be refused; None where that is not the question."""
    neutral: ShownAnswer | None
    """None where there is none, or where `arm` is the neutral one."""
    arm: ShownAnswer
    change: Change


@dataclass(frozen=True)
class ItemPage:
    """A page of entries."""

    entries: tuple[ItemEntry, ...]
    first: int
    """Place of the first one, from 0."""
    total: int
    lost: int
    """Entries behind the point, filter or not, where neutral was right and the arm wrong."""
    gained: int
    same: int


@dataclass(frozen=True, eq=False)
class _Found:
    """All entries behind a point as parallel arrays, best first."""

    cells: IntArray
    items: IntArray
    references: IntArray
    change: FloatArray
    lost: BoolArray
    gained: BoolArray

    def kept(self, keep: BoolArray | IntArray) -> _Found:
        return _Found(*(getattr(self, f.name)[keep] for f in fields(self)))


def item_page(
    opened: OpenStudy, view: View, pick: Pick, wanted: ItemFilter, number: int
) -> ItemPage:
    """Return a page of the items behind a point, flips first.

    The `view` is what the filters leave of the study. Pages are numbered from 1; a `number` beyond
    the last one means the last.
    """
    found = _find(opened, view, pick)
    lost, gained = int(found.lost.sum()), int(found.gained.sum())
    counts = lost, gained, len(found.cells) - lost - gained
    chosen = {
        "flips": found.lost | found.gained,
        "lost": found.lost,
        "gained": found.gained,
        "all": np.ones(len(found.cells), dtype=bool),
    }[wanted.which]
    found = found.kept(chosen)
    if wanted.only_different:
        found = found.kept(_differs(opened, found))
    if wanted.text.strip():
        found = found.kept(_holds(opened, found, wanted.text.strip()[:MAX_SEARCH]))
    order = np.lexsort((-np.abs(found.change), ~found.gained, ~found.lost))
    found = found.kept(order)
    total = len(found.cells)
    first = (min(max(1, number), max(1, -(-total // PAGE))) - 1) * PAGE
    shown = range(first, min(first + PAGE, total))
    return ItemPage(tuple(_entry(opened, found, i) for i in shown), first, total, *counts)


def _find(opened: OpenStudy, view: View, pick: Pick) -> _Found:
    grid = opened.grid
    rows = view.choose(pick)
    columns = np.flatnonzero(view.within(pick.category, pick.task))
    cells, items = (a.ravel() for a in np.meshgrid(rows, columns, indexing="ij"))
    there = grid.first_row[cells, items] >= 0
    if pick.own:
        personas = grid.cells["persona"].to_numpy()[cells]
        wanted = grid.items["category"].map(OWN_EXPERT).fillna("").to_numpy()[items]
        there &= personas == wanted
    cells, items = cells[there], items[there]
    references = grid.cells["reference"].to_numpy()[cells]
    after, before = _score(opened, cells, items), _score(opened, references, items)
    before[references < 0] = np.nan
    change = np.nan_to_num(after - before)
    lost, gained = (before >= 0.5) & (after < 0.5), (before <= 0.5) & (after > 0.5)
    return _Found(cells, items, references, change, lost, gained)


def _score(opened: OpenStudy, cells: IntArray, items: IntArray) -> FloatArray:
    """Return accuracy where the item has one, else alignment."""
    means = opened.grid.means
    accuracy = means["accuracy"][cells, items]
    return np.where(np.isfinite(accuracy), accuracy, means["alignment"][cells, items])


def _texts(opened: OpenStudy, cells: IntArray, items: IntArray) -> pd.Series:
    """Return the first answer of each entry; empty where there is none."""
    places = opened.grid.first_row[cells, items]
    texts = opened.study.rows["text"].iloc[places].reset_index(drop=True)
    return texts.where(pd.Series((places >= 0) & (cells >= 0)), "")


def _differs(opened: OpenStudy, found: _Found) -> BoolArray:
    mine = _texts(opened, found.cells, found.items)
    theirs = _texts(opened, found.references, found.items)
    return np.asarray((mine != theirs).to_numpy(dtype=bool) | (found.references < 0))


def _holds(opened: OpenStudy, found: _Found, words: str) -> BoolArray:
    keep = np.zeros(len(found.cells), dtype=bool)
    for cells in (found.cells, found.references):
        texts = _texts(opened, cells, found.items)
        keep |= texts.str.contains(words, case=False, regex=False).to_numpy(dtype=bool)
    keys = opened.grid.items[["task", "item"]]
    questions = keys.merge(opened.study.items, on=["task", "item"], how="left")["question"]
    asked = questions.str.contains(words, case=False, regex=False).to_numpy(dtype=bool)
    return np.asarray(keep | asked[found.items])


def _entry(opened: OpenStudy, found: _Found, i: int) -> ItemEntry:
    cell, item, reference = int(found.cells[i]), int(found.items[i]), int(found.references[i])
    key = opened.grid.items.iloc[item]
    table = opened.study.items
    row = table[(table["task"] == key["task"]) & (table["item"] == key["item"])].iloc[0]
    compared = reference not in (-1, cell)
    change: Change = "lost" if found.lost[i] else "gained" if found.gained[i] else "same"
    return ItemEntry(
        task=str(key["task"]),
        category=str(key["category"]),
        item=str(key["item"]),
        question=str(row["question"]),
        choices=str(row["choices"]),
        right=None if pd.isna(row["answer"]) else int(row["answer"]),
        harmful=None if pd.isna(row["harmful"]) else bool(row["harmful"]),
        neutral=_answer(opened, reference, item) if compared else None,
        arm=_answer(opened, cell, item),
        change=change,
    )


def _answer(opened: OpenStudy, cell: int, item: int) -> ShownAnswer:
    grid = opened.grid
    mine = np.flatnonzero((grid.cell_of == cell) & (grid.item_of == item))
    texts = opened.study.rows["text"].iloc[mine].astype(str).tolist()
    distinct = list(dict.fromkeys(texts))

    def mean(name: str) -> float | None:
        value = float(grid.means[name][cell, item])
        return value if np.isfinite(value) else None

    return ShownAnswer(
        title=str(grid.cells["cell"].iat[cell]),
        text=texts[0] if texts else "",
        repeats=len(texts),
        different=len(distinct),
        others=tuple(distinct[1:_REPEATS]),
        **{name: mean(name) for name in _MEANS},
    )
