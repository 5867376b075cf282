"""Batches of similar width, which need little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches_by_width(
    width: Sequence[int], max_cells: int, max_rows: int | None = None
) -> Iterator[list[int]]:
    """Yield indices in batches of similar width whose padded size stays within `max_cells`."""
    batch: list[int] = []
    for i in sorted(range(len(width)), key=lambda i: -width[i]):
        is_full = len(batch) == max_rows or (
            batch and width[batch[0]] * (len(batch) + 1) > max_cells
        )
        if is_full:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
