"""What a gate's threshold does, computed from answers that are there already.

Every item has a neutral answer, and the adapter's own answer from wherever the gate was open: held
always open, that is every item. With the gate's probability, any threshold's score follows without
a single new answer: the adapter's where probability >= threshold, the neutral one's elsewhere.
Where some answers with an open gate are missing, the curve begins at the lowest threshold that
needs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prism_core.analysis.grid import SCORE_NAMES, IntArray, ScoreName
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View, mean_rows
from prism_core.stats import mean_of
from prism_core.stats.checks import BoolArray, FloatArray
from prism_core.types import Estimate

_MOST = 41
"""Thresholds in a curve; between the first and the last they are quantiles of the gate."""


@dataclass(frozen=True, eq=False)
class SweepItems:
    """The items of one score under one gate; all arrays have the shape (n,)."""

    gate: FloatArray
    off: FloatArray
    """The neutral answer's score."""
    on: FloatArray
    """The adapter's score; NaN where its gate was never open."""

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.gate)

    def reachable(self, threshold: float) -> bool:
        """Return whether every answer that this threshold needs is there."""
        return bool(np.isfinite(self.on[self.gate >= threshold]).all())

    def change(self, threshold: float) -> FloatArray:
        """Return each item's score minus neutral's at a threshold."""
        return np.where(self.gate >= threshold, self.on - self.off, 0.0)


@dataclass(frozen=True)
class SweepPoint:
    """One score at one threshold."""

    threshold: float
    share: float
    """Share of the items that are routed to the adapter."""
    level: float
    change: Estimate
    """Mean score minus neutral's, paired by item."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """One adapter on one model."""

    title: str
    adapter: str
    model: str
    own: float | None
    """Its own threshold; None where it was only held open."""
    shares: Sequence[float]
    """Share of all items routed to it, at each threshold."""
    curves: Mapping[ScoreName, Sequence[SweepPoint]]
    """For each score that was measured, a point at each threshold."""

    @property
    def pick(self) -> str:
        """The adapter's answers."""
        return Pick(arm="adapter", adapter=self.adapter, model=self.model).to_text()

    @property
    def own_place(self) -> int | None:
        """The place of the first computed threshold that routes as its own does."""
        points = next(iter(self.curves.values()))
        if self.own is None:
            return None
        return next((i for i, p in enumerate(points) if p.threshold >= self.own), None)


def sweeps_of(view: View) -> list[Sweep]:
    """Return every adapter and model for which at least two thresholds can be computed."""
    cells = view.cells
    adapters = cells[cells["arm"] == "adapter"]
    found = []
    several = len(view.names("model")) > 1
    for (model, name), part in adapters.groupby(["model", "adapter"], sort=False):
        rows: IntArray = part.index.to_numpy(dtype=np.intp)
        had = {score: sweep_items(view, rows, score) for score in SCORE_NAMES}
        had = {score: items for score, items in had.items() if items.n}
        thresholds = thresholds_of(list(had.values()))
        if len(thresholds) < 2:
            continue
        curves = {score: sweep_points(items, thresholds) for score, items in had.items()}
        gated = part["threshold"][part["threshold"] > 0]
        own = float(gated.iloc[0]) if len(gated) else None
        gates = mean_rows(view.grid.means["gate"][rows][:, view.columns])
        gates = gates[np.isfinite(gates)]
        shares = [float((gates >= t).mean()) for t in thresholds]
        title = f"{name} on {model}" if several else str(name)
        found.append(Sweep(title, str(name), str(model), own, shares, curves))
    return found


def sweep_items(view: View, rows: IntArray, score: str) -> SweepItems:
    """Return the items that a sweep can use; `rows` are all cells of one adapter and one model."""
    grid, keep = view.grid, view.columns
    references = grid.cells["reference"].to_numpy()[rows]
    if not len(rows) or references[0] < 0:
        empty = np.array([])
        return SweepItems(empty, empty, empty)
    gate = mean_rows(grid.means["gate"][rows][:, keep])
    opened: BoolArray = grid.means["gate_open"][rows][:, keep] == 1
    on = mean_rows(np.where(opened, grid.means[score][rows][:, keep], np.nan))
    off = grid.means[score][references[0]][keep]
    usable = np.isfinite(gate) & np.isfinite(off)
    return SweepItems(gate[usable], off[usable], on[usable])


def thresholds_of(items: list[SweepItems]) -> list[float]:
    """Return the thresholds worth computing, rising: from the lowest possible one to closed."""
    gates = np.unique(np.concatenate([i.gate for i in items])) if items else np.array([])
    if not gates.size:
        return []
    if gates.size > _MOST - 2:
        gates = np.unique(np.quantile(gates, np.linspace(0, 1, _MOST - 2), method="nearest"))
    above = float(np.nextafter(gates[-1], 2.0))
    candidates = [0.0, *(float(g) for g in gates), max(above, 1.0 if gates[-1] < 1 else above)]
    return [t for t in dict.fromkeys(candidates) if all(i.reachable(t) for i in items)]


def sweep_points(items: SweepItems, thresholds: list[float]) -> list[SweepPoint]:
    """Return one score along the thresholds, each with its paired interval."""
    estimates = [mean_of(items.change(t), bounds=(-1.0, 1.0)) for t in thresholds]
    base = float(items.off.mean())
    return [
        SweepPoint(t, float((items.gate >= t).mean()), base + (e.value or 0.0), e)
        for t, e in zip(thresholds, estimates, strict=True)
    ]


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points that no other beats in both, by the first number."""
    order = sorted(range(len(points)), key=lambda i: (-points[i][0], -points[i][1]))
    best: list[int] = []
    for i in order:
        if not best or points[i][1] > points[best[-1]][1]:
            best.append(i)
    return best[::-1]
