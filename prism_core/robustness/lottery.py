"""The persona lottery, and searching for a persona at inference time: what training replaces.

Expected best of k: what one would get who tried k personas *and knew the truth* about each
(`prism_core.stats.expected_best_of`); it flatters, since the best is chosen on the items that it is
measured on. Search is what can really be done: try k personas on some items whose answers are
known, keep the best, use it on the others. Its gain is measured on those others, over many seeded
halvings of the items, and its cost counted in questions asked before the first use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prism_core.errors import StatisticsError
from prism_core.robustness.stability import StabilityTable
from prism_core.stats import expected_best_of
from prism_core.stats.checks import FloatArray
from prism_core.types import Estimate

_HALVINGS = 60
_RESAMPLES = 200


@dataclass(frozen=True)
class LotteryRow:
    """What trying k personas is worth."""

    k: int
    expected_best: Estimate
    """Accuracy of the best of k on the items it was chosen on; over draws of personas."""
    searched: Estimate
    """Accuracy on other items of the persona that a search of k chose."""
    gain: Estimate
    """The same minus the accuracy without a persona, on the same other items."""
    questions: int
    """Questions asked by the search before its choice."""


def persona_lottery(table: StabilityTable, seed: int = 0) -> tuple[LotteryRow, ...]:
    """Measure lottery and search for every k.

    Raises:
        StatisticsError: there are fewer than two personas or four items.
    """
    matrix = np.asarray([p.correct for p in table.personas], dtype=np.float64)
    neutral = np.asarray(table.neutral.correct, dtype=np.float64)
    if matrix.shape[0] < 2 or matrix.shape[1] < 4:
        raise StatisticsError("A search needs at least two personas and four items.")
    personas, items = matrix.shape
    draw = np.random.default_rng(seed)
    value = _search(matrix, neutral, draw)
    drawn = []
    for _ in range(_RESAMPLES):
        chosen = draw.integers(0, items, size=(items,))
        drawn.append(_search(matrix, neutral, draw, chosen, halvings=4))
    spread = np.asarray(drawn)
    centred = spread - spread.mean(axis=0)
    low, high = np.quantile(centred, [0.025, 0.975], axis=0)
    rows = []
    for k in range(1, personas + 1):
        searched, gain = (
            Estimate(float(v), float(v + lo), float(v + hi), items)
            for v, lo, hi in zip(value[k - 1], low[k - 1], high[k - 1], strict=True)
        )
        best = expected_best_of(matrix.mean(axis=1).tolist(), k)
        rows.append(LotteryRow(k, best, searched, gain, k * (items // 2)))
    return tuple(rows)


def _search(
    matrix: FloatArray,
    neutral: FloatArray,
    draw: np.random.Generator,
    chosen: NDArray[np.int64] | None = None,
    halvings: int = _HALVINGS,
) -> FloatArray:
    """Return the mean over halvings of (accuracy, gain) for each k, (personas, 2)."""
    personas, items = matrix.shape
    total = np.zeros((personas, 2))
    for _ in range(halvings):
        order = draw.permutation(items)
        first, second = order[: items // 2], order[items // 2 :]
        if chosen is not None:
            # The resample's copies of an item all stay on that item's side.
            counts = np.bincount(chosen, minlength=items)
            first, second = np.repeat(first, counts[first]), np.repeat(second, counts[second])
            if not len(first) or not len(second):
                continue
        tried, other = matrix[:, first].mean(axis=1), matrix[:, second].mean(axis=1)
        base = neutral[second].mean()
        for k in range(1, personas + 1):
            accuracy = float(_choice(tried, k) @ other)
            total[k - 1] += (accuracy, accuracy - base)
    return total / halvings


def _choice(tried: FloatArray, k: int) -> FloatArray:
    """Return the probability that a search of k chooses each persona; ties go by lot."""
    count = len(tried)
    order = np.argsort(tried, kind="stable")
    weights = np.array([math.comb(i, k - 1) for i in range(count)]) / math.comb(count, k)
    found = np.zeros(count)
    found[order] = weights
    for value in np.unique(tried):
        same = tried == value
        found[same] = found[same].mean()
    return found
