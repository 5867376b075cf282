"""The prefill of many rows by packed weights: all their tokens in one product, without padding.

1. What rows share (a persona's text, the whole prompt of several samples) is read once: first the
   beginnings of all groups, then every row's own end.
2. A linear map sees the tokens of all rows end to end; only attention lays them out row by row.
3. A pass takes so many tokens that the processor is busy and little memory is needed.
The cache is that of the decoding steps which follow (`prism_core/lean.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import torch

from prism_core.lean import LeanDecoder
from prism_core.prefill import groups_alike, worth_sharing
from prism_core.slot_cache import SlotCache

_FEWEST_TOKENS = 1_024
"""Fewer are read by the library's layers, so that a first answer need not wait for packing."""
_LONGEST_ROW = 1_024
"""Attention keeps a number for each pair of a row's tokens; longer rows are the library's."""
_PASS_TOKENS = 2_048

Rows = Sequence[Sequence[int]]


def is_worth_packing(rows: Rows) -> bool:
    """Whether a batch has so many tokens, in rows so short, that `read_rows` is the faster way."""
    lengths = [len(row) for row in rows]
    return len(rows) > 1 and sum(lengths) >= _FEWEST_TOKENS and max(lengths) <= _LONGEST_ROW


def read_rows(
    lean: LeanDecoder, rows: Rows, cancel: threading.Event | None = None
) -> tuple[torch.Tensor, SlotCache]:
    """Read a batch of token rows.

    Args:
        lean: the packed weights.
        rows: token ids, at least one a row.
        cancel: ends the reading; asked at every layer.

    Returns:
        Logits of each row's last token (B, V), and the cache.

    Raises:
        CancelledError: `cancel` was set.
    """
    shared, source = [0] * len(rows), [0] * len(rows)
    heads: list[Sequence[int]] = []
    for group in groups_alike(rows):
        length = worth_sharing([rows[i] for i in group])
        if length:
            for i in group:
                shared[i], source[i] = length, len(heads)
            heads.append(rows[group[0]][:length])
    cache = lean.new_cache([len(row) for row in rows])
    if heads:
        beginnings = lean.new_cache([len(head) for head in heads])
        _read(lean, beginnings, heads, [0] * len(heads), cancel)
        cache.copy_beginnings(beginnings, source, shared)
    ends = [row[start:] for row, start in zip(rows, shared, strict=True)]
    return _read(lean, cache, ends, shared, cancel), cache


def _read(
    lean: LeanDecoder,
    cache: SlotCache,
    ends: Rows,
    before: Sequence[int],
    cancel: threading.Event | None,
) -> torch.Tensor:
    """Read each row's end behind the tokens that its cache holds; logits of the last ones."""
    parts = [
        lean.read(cache, span, [ends[i] for i in span], [before[i] for i in span], cancel)
        for span in _spans([len(end) for end in ends])
    ]
    return torch.cat(parts)


def _spans(lengths: Sequence[int]) -> Iterator[range]:
    """Neighbouring rows whose tokens make a pass."""
    start = total = 0
    for i, length in enumerate(lengths):
        if total and total + length > _PASS_TOKENS:
            yield range(start, i)
            start, total = i, 0
        total += length
    yield range(start, len(lengths))
