"""Persona stability: how high and how even is verifiable accuracy over a pool of personas?

With accuracies a_1..a_K of K personas on the same items, the score is the mean over all pairs of
different personas of the smaller of the two: **the accuracy one can expect from the worse of two
personas drawn at random**. It is (mean) - (mean absolute difference) / 2 = mean x (1 - Gini).
1. It lies between 0 and 1; even accuracies a, a, .. give a, so evenly bad stays bad.
2. It never falls when any persona gets better. Mean x (1 - range) does, so that was not taken.
3. It is the mirror of the persona lottery, which asks for the best of k.
The formula of PerMix-RLVR (arXiv 2604.08986) is not public; this definition is ours, and here only.
The interval resamples items and personas together (2,000 times, seeded) and is centred on the
estimate, since a resample that holds a persona twice looks more even than it is. Noise makes any
model look less even: compare models on the same items and personas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from prism_core.errors import InputError, StatisticsError
from prism_core.personas.pool import Attitude, Part
from prism_core.stats import mean_of
from prism_core.stats.checks import RESAMPLES, FloatArray
from prism_core.types import Estimate


@dataclass(frozen=True)
class PersonaAccuracy:
    """One persona's results on all items."""

    name: str
    """The persona's name; "" for no persona."""
    attitude: Attitude | None
    """What it would do to the task; None for no persona."""
    part: Part | None
    """Whether training may have seen it; None for no persona."""
    correct: tuple[float, ...]
    """The reward on each item, in the table's order."""


@dataclass(frozen=True)
class StabilityTable:
    """A model's rewards by persona and item."""

    model: str
    items: tuple[str, ...]
    neutral: PersonaAccuracy
    personas: tuple[PersonaAccuracy, ...]

    def __post_init__(self) -> None:
        for row in (self.neutral, *self.personas):
            if len(row.correct) != len(self.items):
                raise InputError(
                    f"'{row.name}' has {len(row.correct)} rewards for {len(self.items)} items."
                )


@dataclass(frozen=True)
class Stability:
    """What a table says."""

    personas: int
    score: Estimate
    """Persona stability score, 0 to 1."""
    mean: Estimate
    """Mean accuracy over personas, its interval from items and personas."""
    worst: Estimate
    """Accuracy of the worst persona; its interval treats that persona as given."""
    worst_name: str
    best: Estimate
    best_name: str
    spread: Estimate
    neutral: Estimate


def measure(table: StabilityTable, part: Part | None = None, seed: int = 0) -> Stability:
    """Return the score and its companions over the personas of one part, or over all.

    Raises:
        InputError: a reward is not between 0 and 1.
        StatisticsError: there are fewer than two personas or two items.
    """
    rows = [p for p in table.personas if part is None or p.part == part]
    matrix = _matrix(rows)
    means = matrix.mean(axis=1)
    worst, best = int(means.argmin()), int(means.argmax())

    def estimate(of: Callable[[FloatArray], FloatArray]) -> Estimate:
        return _two_way(matrix, of, seed)

    return Stability(
        personas=len(rows),
        score=estimate(stability_scores),
        mean=estimate(lambda a: a.mean(axis=1)),
        worst=mean_of(rows[worst].correct, bounds=(0.0, 1.0)),
        worst_name=rows[worst].name,
        best=mean_of(rows[best].correct, bounds=(0.0, 1.0)),
        best_name=rows[best].name,
        spread=estimate(lambda a: a.max(axis=1) - a.min(axis=1)),
        neutral=mean_of(table.neutral.correct, bounds=(0.0, 1.0)),
    )


def _matrix(rows: Sequence[PersonaAccuracy]) -> FloatArray:
    """Return the rewards, of shape (personas, items)."""
    if len(rows) < 2:
        raise StatisticsError("Stability compares personas: at least two are needed.")
    if len(rows[0].correct) < 2:
        raise StatisticsError("Stability needs at least two items.")
    matrix = np.asarray([r.correct for r in rows], dtype=np.float64)
    if not bool(((matrix >= 0) & (matrix <= 1)).all()):
        raise InputError("Rewards lie between 0 and 1.")
    return matrix


def stability_scores(accuracies: FloatArray) -> FloatArray:
    """Return the stability score of each row of accuracies, (R, K) -> (R,).

    In rising order the i-th of K is the smaller one in K - i pairs.
    """
    count = accuracies.shape[1]
    ordered = np.sort(accuracies, axis=1)
    weights = np.arange(count - 1, -1, -1, dtype=np.float64) / math.comb(count, 2)
    found: FloatArray = ordered @ weights
    return found


def _resampled(matrix: FloatArray, seed: int) -> FloatArray:
    """Return accuracies (RESAMPLES, personas) of resampled personas on resampled items."""
    draw = np.random.default_rng(seed)
    personas, items = matrix.shape
    rows = draw.integers(0, personas, size=(RESAMPLES, personas))
    counts = draw.multinomial(items, np.full(items, 1 / items), size=RESAMPLES)
    means = counts @ matrix.T / items
    found: FloatArray = np.take_along_axis(means, rows, axis=1)
    return found


def _two_way(matrix: FloatArray, of: Callable[[FloatArray], FloatArray], seed: int) -> Estimate:
    """Return the estimate with the resamples' spread around it, within 0 and 1."""
    items = matrix.shape[1]
    value = float(of(matrix.mean(axis=1)[None])[0])
    drawn = of(_resampled(matrix, seed))
    low, high = np.quantile(drawn - drawn.mean(), [0.025, 0.975])
    if high - low < 1e-12:
        return Estimate(value, None, None, items)
    return Estimate(value, max(0.0, value + float(low)), min(1.0, value + float(high)), items)
