"""How far two judges agree: the share of equal verdicts, and Cohen's kappa.

Verdicts of one item (its cells and repeats) are not independent, so the share is a mean of items,
and kappa's interval comes from drawing whole items anew (a cluster bootstrap, percentiles).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from prism_core.stats import mean_of
from prism_core.stats.checks import FloatArray, central_range
from prism_core.types import Estimate, Winner

_CLASSES: tuple[Winner, ...] = get_args(Winner)
_DRAWS = 2_000


@dataclass(frozen=True)
class Agreement:
    """What two judges have in common; both count items."""

    same: Estimate
    """Share of answers on which they reach the same verdict."""
    kappa: Estimate
    """1 for full agreement, 0 for what chance alone would give; undefined where both always say
    the same one thing."""


def agreement(verdicts: Sequence[tuple[str, Winner, Winner]], seed: int = 0) -> Agreement:
    """Return how far two judges agree, from (item, verdict of one, verdict of the other)."""
    places = {item: i for i, item in enumerate(dict.fromkeys(v[0] for v in verdicts))}
    tables = np.zeros((len(places), len(_CLASSES), len(_CLASSES)))
    for item, one, two in verdicts:
        tables[places[item], _CLASSES.index(one), _CLASSES.index(two)] += 1
    shares = np.trace(tables, axis1=1, axis2=2) / tables.sum((1, 2))
    same = mean_of(shares.tolist(), bounds=(0.0, 1.0))
    value = float(_kappa(tables.sum(0)[None])[0]) if len(places) else np.nan
    if not np.isfinite(value):
        return Agreement(same, Estimate(None, None, None, len(places)))
    chance = np.random.default_rng(seed)
    picked = chance.integers(0, len(places), (_DRAWS, len(places)))
    drawn = np.stack([tables[row].sum(0) for row in picked])
    found = _kappa(drawn)
    low, high = central_range(found[np.isfinite(found)])
    return Agreement(same, Estimate(value, low, high, len(places)))


def _kappa(tables: FloatArray) -> FloatArray:
    """Return kappa of each table of counts, shape (draws, 3, 3); NaN where it is not defined."""
    shares = tables / tables.sum((1, 2), keepdims=True)
    seen = np.trace(shares, axis1=1, axis2=2)
    expected = (shares.sum(1) * shares.sum(2)).sum(1)
    room = np.where(expected < 1 - 1e-12, 1 - expected, np.nan)
    found: FloatArray = (seen - expected) / room
    return found
