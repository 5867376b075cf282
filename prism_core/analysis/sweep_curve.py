"""What a gate's threshold does, computed from answers that are there already.

Every item has a neutral answer, and the adapter's own answer from wherever the gate was open: held
always open, that is every item. With the gate's probability, any threshold's score follows without
a single new answer: the adapter's where probability >= threshold, the neutral one's elsewhere.
Where some answers with an open gate are missing, the curve begins at the lowest threshold that
needs none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prism_core.analysis.grid import IntArray
from prism_core.analysis.view import View
from prism_core.stats import means_of
from prism_core.stats.checks import BoolArray, FloatArray
from prism_core.types import Estimate

_MOST = 41
"""Thresholds in a curve; between the first and the last they are quantiles of the gate."""


@dataclass(frozen=True, eq=False)
class SweepItems:
    """The items of one score under one gate."""

    gate: FloatArray
    """The gate's probability, shape (n,)."""
    off: FloatArray
    """The neutral answer's score."""
    on: FloatArray
    """The adapter's score; NaN where its gate was never open."""

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.gate)

    def reachable(self, threshold: float) -> bool:
        """Whether every answer that this threshold needs is there."""
        return bool(np.isfinite(self.on[self.gate >= threshold]).all())

    def change(self, threshold: float) -> FloatArray:
        """Each item's score minus neutral's at a threshold."""
        return np.where(self.gate >= threshold, self.on - self.off, 0.0)


@dataclass(frozen=True)
class SweepPoint:
    """One score at one threshold."""

    threshold: float
    """The gate opens at this probability."""
    share: float
    """Share of the items that are routed to the adapter."""
    level: float
    """Mean score."""
    change: Estimate
    """Mean score minus neutral's, paired by item."""


def sweep_items(view: View, rows: IntArray, score: str) -> SweepItems:
    """The items that a sweep can use.

    Args:
        view: the filtered study.
        rows: all cells of one adapter and one model.
        score: a name of `grid.SCORE_COLUMNS`.
    """
    grid, keep = view.grid, view.columns
    references = grid.cells["reference"].to_numpy()[rows]
    if not len(rows) or references[0] < 0:
        empty = np.array([])
        return SweepItems(empty, empty, empty)
    gate = _first_known(grid.means["gate"][rows][:, keep])
    opened: BoolArray = grid.means["gate_open"][rows][:, keep] == 1
    on = _first_known(np.where(opened, grid.means[score][rows][:, keep], np.nan))
    off = grid.means[score][references[0]][keep]
    usable = np.isfinite(gate) & np.isfinite(off)
    return SweepItems(gate[usable], off[usable], on[usable])


def gates_of(view: View, rows: IntArray) -> FloatArray:
    """The gate's probability of every shown item that it was asked about."""
    gate = _first_known(view.grid.means["gate"][rows][:, view.columns])
    return gate[np.isfinite(gate)]


def thresholds_of(items: list[SweepItems]) -> list[float]:
    """The thresholds worth computing, rising: from the lowest one that can be to closed."""
    gates = np.unique(np.concatenate([i.gate for i in items])) if items else np.array([])
    if not gates.size:
        return []
    if gates.size > _MOST - 2:
        gates = np.unique(np.quantile(gates, np.linspace(0, 1, _MOST - 2), method="nearest"))
    above = float(np.nextafter(gates[-1], 2.0))
    candidates = [0.0, *(float(g) for g in gates), max(above, 1.0 if gates[-1] < 1 else above)]
    return [t for t in dict.fromkeys(candidates) if all(i.reachable(t) for i in items)]


def sweep_points(items: SweepItems, thresholds: list[float]) -> list[SweepPoint]:
    """One score along the thresholds, each with its paired interval."""
    if not items.n:
        return []
    changes = [items.change(t) for t in thresholds]
    estimates = means_of(changes, bounds=(-1.0, 1.0))
    base = float(items.off.mean())
    return [
        SweepPoint(t, float((items.gate >= t).mean()), base + (e.value or 0.0), e)
        for t, e in zip(thresholds, estimates, strict=True)
    ]


def _first_known(values: FloatArray) -> FloatArray:
    """The mean of the known values of each column; NaN where there is none."""
    known = np.isfinite(values)
    sums = np.where(known, values, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / known.sum(axis=0))
