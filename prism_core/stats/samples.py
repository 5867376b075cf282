"""Scores by item: the shape in which every comparison starts.

An item asked three times with three seeds is one item, not three: repeats share the item's
difficulty and would make every interval too narrow. So repeats are averaged inside their item
first, and all later arithmetic counts items. Items are kept in sorted order, so that a seeded
interval does not depend on the order in which a run happened to finish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prism_core.errors import InputError
from prism_core.stats.checks import FloatArray, finite_array, same_length


@dataclass(frozen=True)
class ItemScores:
    """One score for each item: the mean over its repeats."""

    items: tuple[str, ...]
    """Sorted and unique."""
    means: tuple[float, ...]


@dataclass(frozen=True)
class Pairs:
    """Two arms on the same items, e.g. persona (treatment) and neutral (control)."""

    items: tuple[str, ...]
    """Those that both arms have, sorted and unique."""
    treatment: tuple[float, ...]
    control: tuple[float, ...]
    left_out: int = 0
    """Items that only one arm has; they carry no paired information."""

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def differences(self) -> FloatArray:
        """Treatment minus control for each item, shape (n,)."""
        return np.asarray(self.treatment, dtype=np.float64) - np.asarray(self.control, np.float64)


def item_scores(items: Sequence[str], scores: Sequence[float]) -> ItemScores:
    """Average repeated scores inside their item, given the item and the score of each row."""
    values = finite_array(scores, "scores")
    same_length("items", len(items), "scores", len(values))
    names = sorted(set(items))
    position = {name: index for index, name in enumerate(names)}
    rows = np.fromiter((position[item] for item in items), dtype=np.intp, count=len(items))
    counts = np.bincount(rows, minlength=len(names))
    sums = np.bincount(rows, weights=values, minlength=len(names))
    return ItemScores(tuple(names), tuple((sums / counts).tolist()))


def pair(treatment: ItemScores, control: ItemScores) -> Pairs:
    """Join two arms on their items; items that only one arm has are counted, not used.

    Raises:
        InputError: Both arms hold items but share none, so they answered different questions.
    """
    left = dict(zip(treatment.items, treatment.means, strict=True))
    right = dict(zip(control.items, control.means, strict=True))
    shared = sorted(left.keys() & right.keys())
    if left and right and not shared:
        raise InputError(
            f"the two arms share no item (first ones: {treatment.items[0]!r} and "
            f"{control.items[0]!r}); a paired comparison needs the same items in both"
        )
    return Pairs(
        tuple(shared),
        tuple(left[item] for item in shared),
        tuple(right[item] for item in shared),
        len(left.keys() ^ right.keys()),
    )
