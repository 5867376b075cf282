"""Keys and values of a batch whose rows grow each at its own pace, one slot a token.

The passes of `fused_llama.py` read and write it. A prefill by the library's layers hands its cache
over; a prefill by fused weights fills an empty one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

_SPARE = 64


class SlotCache:
    """Keys and values of a batch, each row's next token in the slot behind its last.

    The prefill leaves rows of one width, some with padding; from there each row grows at its own
    pace, and row b's new token at position p lies in slot `padding[b] + p`. A buffer has the shape
    (B, slots, kv heads, head size).
    """

    def __init__(
        self, is_real: torch.Tensor, keys: list[torch.Tensor], values: list[torch.Tensor]
    ) -> None:
        """Take buffers of rows; `is_real` (B, T) is false where a slot is padding."""
        width = is_real.shape[1]
        self.is_real = is_real
        self.padding = width - is_real.sum(dim=1)
        self.used = torch.full_like(self.padding, width)
        self.keys, self.values = keys, values

    @classmethod
    def from_prefill(cls, cache: DynamicCache, mask: torch.Tensor) -> SlotCache:
        """Take over a prefill's cache, which is emptied, and its mask (B, T)."""
        room = mask.shape[1] + _SPARE
        keys, values = [], []
        for i, layer in enumerate(cache.layers):
            whole: Any = layer
            keys.append(_roomy(whole.keys.transpose(1, 2), room))
            values.append(_roomy(whole.values.transpose(1, 2), room))
            cache.layers[i] = type(whole)()
        return cls(mask.bool(), keys, values)

    @classmethod
    def empty(cls, lengths: Sequence[int], layers: int, heads: int, size: int) -> SlotCache:
        """Make room for rows of these lengths, padded on the left, and `layers` layers."""
        width = max(lengths)
        is_real = torch.arange(width) >= width - torch.tensor(list(lengths))[:, None]
        shape = (len(lengths), width + _SPARE, heads, size)
        keys, values = ([torch.zeros(shape) for _ in range(layers)] for _ in range(2))
        return cls(is_real, keys, values)

    def copy_beginnings(
        self, rows: Sequence[int], other: SlotCache, source: Sequence[int], lengths: Sequence[int]
    ) -> None:
        """Let `rows[k]` begin with the first `lengths[k]` tokens of row `source[k]` of another."""
        row, position = places(lengths)
        mine, theirs = (torch.tensor(list(which))[row] for which in (rows, source))
        to, of = (mine, self.padding[mine] + position), (theirs, other.padding[theirs] + position)
        for new, old in ((self.keys, other.keys), (self.values, other.values)):
            for layer, states in zip(new, old, strict=True):
                layer.index_put_(to, states[of])

    def reach(self, slots: int) -> None:
        """Make sure that there are so many slots."""
        if self.keys[0].shape[1] < slots:
            self.keys = [_roomy(k, slots + slots // 2) for k in self.keys]
            self.values = [_roomy(v, slots + slots // 2) for v in self.values]

    def keep(self, index: torch.Tensor) -> None:
        """Keep only these rows."""
        self.is_real, self.padding = self.is_real[index], self.padding[index]
        self.used = self.used[index]
        self.keys = [k[index] for k in self.keys]
        self.values = [v[index] for v in self.values]


def places(lengths: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return row and column of each of so many tokens a row, laid end to end, (N,) each."""
    counts = torch.tensor(list(lengths))
    row = torch.arange(len(counts)).repeat_interleave(counts)
    return row, torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]


def _roomy(old: torch.Tensor, slots: int) -> torch.Tensor:
    rows, length, heads, size = old.shape
    # Slots not yet written must hold numbers: attention's weight 0 times NaN would be NaN.
    room = old.new_zeros((rows, slots, heads, size))
    room[:, :length] = old
    return room


def visible(
    is_real: torch.Tensor, slots: torch.Tensor, reach: int, groups: int
) -> torch.Tensor | None:
    """Return 0 where a token may look, else minus infinity, (B, 1, S * groups, reach)."""
    if slots.shape[1] == 1 and bool((slots == reach - 1).all()) and bool(is_real.all()):
        return None
    hidden = torch.arange(reach) > slots[:, :, None]
    hidden[:, :, : is_real.shape[1]] |= ~is_real[:, None]
    bias = torch.zeros(hidden.shape).masked_fill_(hidden, float("-inf"))
    return bias.repeat_interleave(groups, dim=1)[:, None]
