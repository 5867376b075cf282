"""A study as arrays: cells x items, each entry the mean over the seeds of one item in one cell.

Repeats share their item, so they are averaged inside it first (see `stats/samples.py`), and then
every figure is arithmetic on a small matrix: 200,000 answers with five seeds are 80 cells x 480
items. The matrix is made once for each study; filters only choose rows and columns of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prism_core.errors import InputError
from prism_core.stats.checks import FloatArray
from prism_core.study.table import NEUTRAL

_CELL_COLUMNS = (
    "model",
    "arm",
    "persona",
    "persona_kind",
    "length",
    "placement",
    "adapter",
    "threshold",
    "cell",
)
_ITEM_COLUMNS = ("task", "kind", "category", "item")
ScoreName = Literal["accuracy", "alignment"]
"""The two scores that every item may have; see `prism_core/study/scores.py`."""
SCORE_NAMES: tuple[ScoreName, ...] = ("accuracy", "alignment")
SCORE_COLUMNS = (
    *SCORE_NAMES,
    "p_right",
    "correct",
    "check",
    "rubric",
    "preference",
    "preferred",
    "consistent",
    "refused",
    "refused_judge",
    "words",
    "gate",
    "gate_open",
)
IntArray = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ScoreGrid:
    """All scores of a study by cell and item."""

    cells: pd.DataFrame
    """One row for each cell of one model: `_CELL_COLUMNS`; `reference`, the row of its neutral cell
    (-1 where that model has none); `setting`, a number for its model, length and placement."""
    items: pd.DataFrame
    """One row for each item: `_ITEM_COLUMNS`, and `key`, unique over all tasks."""
    means: Mapping[str, FloatArray]
    """Score -> (cells, items): mean over the repeats; NaN where there is none."""
    repeats: IntArray
    """(cells, items): how many answers there are."""
    cell_of: IntArray
    """(rows,): the cell of each of the study's rows."""
    item_of: IntArray
    """(rows,): the item of each of the study's rows."""
    first_row: IntArray
    """(cells, items): the first of the study's rows there, -1 where there is none."""
    preference_spread: FloatArray
    """(cells, items): standard deviation of the judge's preference over repeats; NaN below two."""

    @cached_property
    def keys(self) -> NDArray[np.object_]:
        """The items' keys; unlike the column of texts, quick to index."""
        return np.array(self.items["key"].tolist(), dtype=object)

    @property
    def answers(self) -> int:
        """How many answers the study holds."""
        return int(self.repeats.sum())


def make_grid(rows: pd.DataFrame) -> ScoreGrid:
    """Average a study's rows, which have the columns of `prism_core/study/table.py`, into a grid.

    Raises:
        InputError: A column is missing.
    """
    missing = [c for c in (*_CELL_COLUMNS, *_ITEM_COLUMNS, *SCORE_COLUMNS) if c not in rows.columns]
    if missing:
        raise InputError(f"The study lacks the column{'s'[: len(missing) > 1]} {missing}.")
    cell_of, cells = _groups(rows, ("model", "cell"), _CELL_COLUMNS)
    item_of, items = _groups(rows, ("task", "item"), _ITEM_COLUMNS)
    items["key"] = items["task"] + "/" + items["item"]
    cells["reference"] = _references(cells)
    cells["setting"] = cells.groupby(["model", "length", "placement"], sort=False).ngroup()
    shape = len(cells), len(items)
    flat, size = cell_of * shape[1] + item_of, shape[0] * shape[1]
    repeats = np.bincount(flat, minlength=size).reshape(shape)
    means = {name: _mean(rows[name], flat, size).reshape(shape) for name in SCORE_COLUMNS}
    spread = _spread(rows["preference"], flat, size).reshape(shape)
    first = np.full(size, -1, dtype=np.intp)
    first[flat[::-1]] = np.arange(len(flat), dtype=np.intp)[::-1]
    return ScoreGrid(cells, items, means, repeats, cell_of, item_of, first.reshape(shape), spread)


def _groups(
    rows: pd.DataFrame, by: tuple[str, str], columns: tuple[str, ...]
) -> tuple[IntArray, pd.DataFrame]:
    """Return the group of every row, and one row for each group, in order of appearance."""
    first, _ = pd.factorize(rows[by[0]])
    second, names = pd.factorize(rows[by[1]])
    codes, _ = pd.factorize(first * max(1, len(names)) + second)
    _, where = np.unique(codes, return_index=True)
    found = rows.iloc[where][list(columns)].reset_index(drop=True)
    for column in columns:
        if column != "threshold":
            found[column] = found[column].astype(object).fillna("").astype(str)
    return codes.astype(np.intp), found


def _references(cells: pd.DataFrame) -> IntArray:
    neutral = cells.index[cells["arm"] == NEUTRAL]
    by_model = {cells.at[i, "model"]: int(i) for i in neutral[::-1]}
    return np.array([by_model.get(model, -1) for model in cells["model"]], dtype=np.intp)


def _numbers(column: pd.Series) -> FloatArray:
    """Return a column of numbers or truth values as floats, NaN where it holds none."""
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _mean(column: pd.Series, flat: IntArray, size: int) -> FloatArray:
    values = _numbers(column)
    known = np.isfinite(values)
    sums = np.bincount(flat[known], weights=values[known], minlength=size)
    counts = np.bincount(flat[known], minlength=size)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts, dtype=np.float64)


def _spread(column: pd.Series, flat: IntArray, size: int) -> FloatArray:
    values = _numbers(column)
    known = np.isfinite(values)
    counts = np.bincount(flat[known], minlength=size)
    mean = _mean(column, flat, size)
    squares = np.bincount(
        flat[known], weights=(values[known] - mean[flat[known]]) ** 2, minlength=size
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 1, np.sqrt(squares / (counts - 1)), np.nan)
