"""The prefill of many rows by fused weights: all their tokens in one product, without padding.

1. What several rows begin with is read once: a template for all, a persona for its questions, a
   question for its samples. Such beginnings form a tree, which is read level by level.
2. A linear map sees the tokens of all rows end to end; only attention lays them out row by row.
3. A pass takes so many tokens that the processor is busy and little memory is needed.
The cache is that of the decoding steps which follow (`fused_llama.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from prism_core.inference.cpu.fused_llama import FusedDecoder
from prism_core.inference.cpu.slot_cache import SlotCache
from prism_core.inference.prefill import Rows, shared_prefix

_FEWEST_TOKENS = 1_024
"""Fewer are read by the library's layers, so that a first answer need not wait for fusing."""
_LONGEST_ROW = 1_024
"""Attention keeps a number for each pair of a row's tokens; longer rows are the library's."""
_PASS_TOKENS = 2_048
_WORTH_SHARING = 32
"""Tokens that a beginning has to save: what a pass costs beside its tokens, in tokens."""


@dataclass(frozen=True)
class _Piece:
    """A stretch of tokens behind those of another piece, its parent."""

    tokens: Sequence[int]
    start: int  # how many tokens stand before it
    level: int  # its parent's level; -1 where it begins its rows
    parent: int  # its parent's place in that level


def is_worth_fusing(rows: Rows) -> bool:
    """Tell whether a batch has so many tokens, in rows so short, that `read_rows` is faster."""
    lengths = [len(row) for row in rows]
    return len(rows) > 1 and sum(lengths) >= _FEWEST_TOKENS and max(lengths) <= _LONGEST_ROW


def read_rows(
    decoder: FusedDecoder, rows: Rows, cancel: threading.Event | None = None
) -> tuple[torch.Tensor, SlotCache]:
    """Read a batch of token rows, at least one token each.

    Returns:
        Logits of each row's last token (B, V), and the cache.

    Raises:
        CancelledError: `cancel` was set; it is asked at every layer.
    """
    tree = _Tree(rows)
    caches: list[SlotCache] = []
    for level in [*tree.levels, tree.ends]:
        cache = decoder.new_cache([piece.start + len(piece.tokens) for piece in level])
        for number, earlier in enumerate(caches):
            behind = [i for i, piece in enumerate(level) if piece.level == number]
            if behind:
                parents = [level[i].parent for i in behind]
                cache.copy_beginnings(behind, earlier, parents, [level[i].start for i in behind])
        logits = torch.cat(
            [
                decoder.read(
                    cache,
                    span,
                    [level[i].tokens for i in span],
                    [level[i].start for i in span],
                    cancel,
                )
                for span in _spans([len(piece.tokens) for piece in level])
            ]
        )
        caches.append(cache)
    return logits, caches[-1]


class _Tree:
    """What rows share, level by level, and each row's own end."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.levels: list[list[_Piece]] = []
        ends: dict[int, _Piece] = {}
        self._split(range(len(rows)), 0, (-1, 0), ends)
        self.ends = [ends[i] for i in range(len(rows))]

    def _split(
        self, members: Sequence[int], start: int, behind: tuple[int, int], ends: dict[int, _Piece]
    ) -> None:
        """Share out the rows `members`, which have their first `start` tokens in common."""
        rows = [self._rows[i] for i in members]
        alike = start + shared_prefix([row[start:] for row in rows])
        if (alike - start) * (len(rows) - 1) >= _WORTH_SHARING:
            level = behind[0] + 1
            if level == len(self.levels):
                self.levels.append([])
            self.levels[level].append(_Piece(rows[0][start:alike], start, *behind))
            start, behind = alike, (level, len(self.levels[level]) - 1)
        parts: dict[int, list[int]] = {}
        for i, row in zip(members, rows, strict=True):
            # A row that ends here is alone, even where its last token is another row's next.
            parts.setdefault(-1 - i if len(row) == alike + 1 else row[alike], []).append(i)
        for part in parts.values():
            if len(part) > 1:
                self._split(part, start, behind, ends)
            else:
                ends[part[0]] = _Piece(self._rows[part[0]][start:], start, *behind)


def _spans(lengths: Sequence[int]) -> Iterator[range]:
    """Yield neighbouring rows whose tokens make a pass."""
    start = total = 0
    for i, length in enumerate(lengths):
        if total and total + length > _PASS_TOKENS:
            yield range(start, i)
            start, total = i, 0
        total += length
    yield range(start, len(lengths))
