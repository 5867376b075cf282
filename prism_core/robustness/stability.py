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
model look less even: compare models on the same items and personas, by `stability_gain`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from prism_core.errors import InputError, StatisticsError
from prism_core.personas.pool import Attitude, Part
from prism_core.stats import mean_of
from prism_core.stats.checks import FloatArray
from prism_core.types import Estimate

RESAMPLES = 2_000
_LEVEL = 0.95


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
    """The model, with its adapter, as shown to people."""
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


def stability_score(accuracies: Sequence[float]) -> float:
    """The expected smaller accuracy of two different personas.

    Raises:
        InputError: an accuracy is not between 0 and 1.
        StatisticsError: there are fewer than two personas.
    """
    values = np.asarray(accuracies, dtype=np.float64)
    if len(values) < 2:
        raise StatisticsError("Stability compares personas: at least two are needed.")
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise InputError(f"Accuracies lie between 0 and 1; found {list(accuracies)[:8]}.")
    return float(_scores(values[None, :])[0])


def measure(table: StabilityTable, part: Part | None = None, seed: int = 0) -> Stability:
    """Score and its companions.

    Args:
        table: the rewards.
        part: only the personas of this part; None takes all.
        seed: draws the resamples.

    Raises:
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
        score=estimate(_scores),
        mean=estimate(lambda a: a.mean(axis=1)),
        worst=mean_of(rows[worst].correct, bounds=(0.0, 1.0), seed=seed),
        worst_name=rows[worst].name,
        best=mean_of(rows[best].correct, bounds=(0.0, 1.0), seed=seed),
        best_name=rows[best].name,
        spread=estimate(lambda a: a.max(axis=1) - a.min(axis=1)),
        neutral=mean_of(table.neutral.correct, bounds=(0.0, 1.0), seed=seed),
    )


def stability_gain(
    treated: StabilityTable, control: StabilityTable, part: Part | None = None, seed: int = 0
) -> Estimate:
    """Score of one model minus another's, resampled on the items and personas that both share.

    Raises:
        InputError: the tables are not of the same items and personas.
    """
    names = [
        [p.name for p in t.personas if part is None or p.part == part] for t in (treated, control)
    ]
    if names[0] != names[1] or treated.items != control.items:
        raise InputError("Stability can be compared on the same items and personas only.")
    first, second = (
        _matrix([p for p in t.personas if part is None or p.part == part])
        for t in (treated, control)
    )
    value = float(_scores(first.mean(1)[None])[0] - _scores(second.mean(1)[None])[0])
    drawn = _resampled(first, seed), _resampled(second, seed)
    return _centred(value, _scores(drawn[0]) - _scores(drawn[1]), first.shape[1], (-1.0, 1.0))


def _matrix(rows: Sequence[PersonaAccuracy]) -> FloatArray:
    """Rewards of shape (personas, items)."""
    if len(rows) < 2:
        raise StatisticsError("Stability compares personas: at least two are needed.")
    if len(rows[0].correct) < 2:
        raise StatisticsError("Stability needs at least two items.")
    return np.asarray([r.correct for r in rows], dtype=np.float64)


def _scores(accuracies: FloatArray) -> FloatArray:
    """Stability scores of rows of accuracies, (R, K) -> (R,).

    In rising order the i-th of K is the smaller one in K - i pairs.
    """
    count = accuracies.shape[1]
    ordered = np.sort(accuracies, axis=1)
    weights = np.arange(count - 1, -1, -1, dtype=np.float64) / math.comb(count, 2)
    found: FloatArray = ordered @ weights
    return found


def _resampled(matrix: FloatArray, seed: int) -> FloatArray:
    """Accuracies (RESAMPLES, personas) of resampled personas on resampled items."""
    draw = np.random.default_rng(seed)
    personas, items = matrix.shape
    rows = draw.integers(0, personas, size=(RESAMPLES, personas))
    counts = draw.multinomial(items, np.full(items, 1 / items), size=RESAMPLES)
    means = counts @ matrix.T / items
    found: FloatArray = np.take_along_axis(means, rows, axis=1)
    return found


def _two_way(matrix: FloatArray, of: Callable[[FloatArray], FloatArray], seed: int) -> Estimate:
    value = float(of(matrix.mean(axis=1)[None])[0])
    return _centred(value, of(_resampled(matrix, seed)), matrix.shape[1], (0.0, 1.0))


def _centred(value: float, drawn: FloatArray, items: int, bounds: tuple[float, float]) -> Estimate:
    """The estimate with the resamples' spread around it, within what is possible."""
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(drawn - drawn.mean(), [tail, 1 - tail])
    if high - low < 1e-12:
        return Estimate(value, None, None, items, _LEVEL)
    return Estimate(
        value, max(bounds[0], value + float(low)), min(bounds[1], value + float(high)), items
    )
