"""What the filters leave of a study, and the paired comparisons that figures are made of.

Everything is a difference from the neutral answers of the same model on the same item, so several
models, lengths or placements can be averaged without mixing them up: an item's value is its mean
over the cells that are asked for, the control's over the neutral cells of just those models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from prism_core.analysis.domains import OWN_EXPERT, in_order
from prism_core.analysis.grid import IntArray, ScoreGrid
from prism_core.analysis.pick import Pick
from prism_core.stats import Pairs
from prism_core.stats.checks import BoolArray, FloatArray
from prism_core.study.table import NEUTRAL


@dataclass(frozen=True)
class Filters:
    """What is to be shown; an empty tuple means everything.

    Neutral answers always stay as the reference. Personas, lengths and placements do not filter
    arms without a persona.
    """

    models: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    personas: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    placements: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


NO_FILTERS = Filters()


@dataclass(frozen=True, eq=False)
class View:
    """A filtered study.

    In all methods `rows` are places in `grid.cells`, `columns` choose from `grid.items` (by default
    all that are shown), and `score` is a name of `grid.SCORE_COLUMNS`.
    """

    grid: ScoreGrid
    rows: IntArray
    """Cells that are shown, neutral ones included."""
    columns: BoolArray
    """Items that are shown, shape (items,)."""
    filters: Filters = NO_FILTERS

    @property
    def cells(self) -> pd.DataFrame:
        """The shown cells; the index is their row in the grid."""
        return self.grid.cells.iloc[self.rows]

    @property
    def items(self) -> pd.DataFrame:
        """The shown items."""
        return self.grid.items[self.columns]

    @property
    def categories(self) -> list[str]:
        """The shown categories, in the paper's order."""
        return in_order(self.items["category"])

    def names(self, column: str) -> list[str]:
        """Return the values of a column of the shown cells, without empty ones, as they appear."""
        return [v for v in self.cells[column].unique() if v]

    def choose(self, pick: Pick) -> IntArray:
        """Return the shown cells that a pick means; its task and category do not matter."""
        cells = self.cells
        keep = np.ones(len(cells), dtype=bool)
        for name, wanted in asdict(pick).items():
            if wanted and name in cells:
                keep &= (cells[name] == wanted).to_numpy()
        return self.rows[keep]

    def persona_rows(self, *, controls: bool = False) -> IntArray:
        """Return the shown cells of the persona arm: real personas, or the control texts."""
        cells = self.cells
        is_control = (cells["persona_kind"] == "control").to_numpy()
        is_persona = (cells["arm"] == "persona").to_numpy()
        return self.rows[is_persona & (is_control if controls else ~is_control)]

    def within(self, category: str = "", task: str = "") -> BoolArray:
        """Return the shown items of a category and a task; empty means any."""
        keep = self.columns
        for column, wanted in (("category", category), ("task", task)):
            if wanted:
                keep = keep & (self.grid.items[column] == wanted).to_numpy()
        return keep

    def own_experts(self, rows: IntArray, category: str) -> IntArray:
        """Return those of the cells whose persona is the category's own expert."""
        personas = self.grid.cells["persona"].to_numpy()[rows]
        return rows[personas == OWN_EXPERT.get(category, "")]

    def pairs(self, rows: IntArray, score: str, columns: BoolArray | None = None) -> Pairs:
        """Pair cells, averaged for each item, with the neutral answers of their models."""
        keep = self.columns if columns is None else columns
        values = self.grid.means[score]
        references = self.grid.cells["reference"].to_numpy()
        usable = rows[references[rows] >= 0]
        treated = values[usable][:, keep]
        control = values[references[usable]][:, keep]
        return _joined(self.grid.keys[keep].tolist(), treated, control)

    def pairs_of_items(
        self, rows: IntArray, score: str, chosen: Sequence[tuple[IntArray, BoolArray]]
    ) -> Pairs:
        """Pair as `pairs` does, with other cells for each group of items, such as its own expert.

        `chosen` are the groups, each with its cells among `rows`; no item may be in two.
        """
        parts = [self.pairs(np.intersect1d(rows, r), score, columns) for r, columns in chosen]
        return Pairs(
            tuple(i for p in parts for i in p.items),
            tuple(t for p in parts for t in p.treatment),
            tuple(c for p in parts for c in p.control),
        )

    def contrast(
        self, first: IntArray, second: IntArray, score: str, columns: BoolArray | None = None
    ) -> Pairs:
        """Pair two sets of cells by item, in each model, length and placement that both have."""
        keep = self.columns if columns is None else columns
        values = self.grid.means[score]
        left, right = self.split(first, "setting"), self.split(second, "setting")
        shared = [key for key in left if key in right]
        if not shared:
            return Pairs((), (), ())
        treated = np.stack([mean_rows(values[left[key]][:, keep]) for key in shared])
        control = np.stack([mean_rows(values[right[key]][:, keep]) for key in shared])
        return _joined(self.grid.keys[keep].tolist(), treated, control)

    def item_means(
        self, rows: IntArray, score: str, columns: BoolArray | None = None
    ) -> FloatArray:
        """Return the mean score of each item over cells, leaving out items without one."""
        keep = self.columns if columns is None else columns
        means = mean_rows(self.grid.means[score][rows][:, keep])
        return means[np.isfinite(means)]

    def split(self, rows: IntArray, column: str) -> dict[Any, IntArray]:
        """Return the cells by their value in a column, in order of appearance."""
        values = self.grid.cells[column].to_numpy()[rows]
        return {value: rows[values == value] for value in dict.fromkeys(values)}


def make_view(grid: ScoreGrid, filters: Filters = NO_FILTERS) -> View:
    """Apply filters to a study."""
    cells, items = grid.cells, grid.items
    keep = np.ones(len(cells), dtype=bool)
    if filters.models:
        keep &= cells["model"].isin(filters.models).to_numpy()
    if filters.arms:
        keep &= cells["arm"].isin([*filters.arms, NEUTRAL]).to_numpy()
    for column in ("persona", "length", "placement"):
        wanted = getattr(filters, f"{column}s")
        if wanted:
            keep &= cells[column].isin([*wanted, ""]).to_numpy()
    columns = np.ones(len(items), dtype=bool)
    if filters.tasks:
        columns &= items["task"].isin(filters.tasks).to_numpy()
    if filters.categories:
        columns &= items["category"].isin(filters.categories).to_numpy()
    return View(grid, np.flatnonzero(keep), columns, filters)


def mean_rows(values: FloatArray) -> FloatArray:
    """Return the mean of each column without its NaNs; NaN where nothing is left."""
    if len(values) == 1:
        return np.asarray(values[0])
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):  # 0 / 0 is our NaN
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))


def _joined(keys: Sequence[str], treated: FloatArray, control: FloatArray) -> Pairs:
    both = np.isfinite(treated) & np.isfinite(control)
    first = mean_rows(np.where(both, treated, np.nan))
    second = mean_rows(np.where(both, control, np.nan))
    kept = np.flatnonzero(np.isfinite(first))
    return Pairs(
        tuple(keys[int(i)] for i in kept),
        tuple(first[kept].tolist()),
        tuple(second[kept].tolist()),
        len(keys) - len(kept),
    )
