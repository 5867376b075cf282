"""Keys and values of a batch whose rows come, grow and go each at its own pace.

Row b's token at position p lies in slot p of row b. Buffers grow by doubling, a row that leaves is
replaced by the last one, so nothing is copied but what moves. A row cut from the buffers has the
form of `prefix_cache.py`. The passes of `fused_llama.py` read and write it.
"""

from __future__ import annotations

import torch

_SPARE = 64


class SlotCache:
    """Buffers of shape (rows, slots, kv heads, head size), two for each layer."""

    def __init__(self, layers: int, heads: int, size: int) -> None:
        self.keys, self.values = (
            [torch.zeros((0, 0, heads, size)) for _ in range(layers)] for _ in range(2)
        )

    def make_room(self, rows: int, slots: int) -> None:
        """Make sure that there are so many rows and slots."""
        had_rows, had_slots = self.keys[0].shape[:2]
        if rows <= had_rows and slots <= had_slots:
            return
        # A first row makes no spare rows: a visitor who is alone needs little memory.
        new_rows = had_rows if rows <= had_rows else max(rows, 2 * had_rows)
        new_slots = had_slots if slots <= had_slots else slots + max(_SPARE, slots // 2)
        self.keys = [_roomy(layer, new_rows, new_slots) for layer in self.keys]
        self.values = [_roomy(layer, new_rows, new_slots) for layer in self.values]

    def put(self, row: int, states: torch.Tensor, start: int = 0) -> None:
        """Write keys and values (layers, 2, T, heads, size) into a row."""
        span = slice(start, start + states.shape[2])
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            keys[row, span], values[row, span] = states[layer, 0], states[layer, 1]

    def cut(self, row: int, start: int, stop: int) -> torch.Tensor:
        """Copy a stretch of a row, (layers, 2, T, heads, size)."""
        keys, values = (
            torch.stack([layer[row, start:stop] for layer in states])
            for states in (self.keys, self.values)
        )
        return torch.stack([keys, values], dim=1)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row of so many tokens over another."""
        for layer in (*self.keys, *self.values):
            layer[target, :length] = layer[source, :length]


def _roomy(old: torch.Tensor, rows: int, slots: int) -> torch.Tensor:
    # Slots not yet written must hold numbers: attention's weight 0 times NaN would be NaN.
    room = old.new_zeros((rows, slots, *old.shape[2:]))
    room[: old.shape[0], : old.shape[1]] = old
    return room


def visible(slots: torch.Tensor, reach: int, groups: int) -> torch.Tensor | None:
    """Return 0 where a token may look, else minus infinity, (B, 1, S * groups, reach).

    The token in slot s of its row, (B, S), sees slots 0 to s.
    """
    if slots.shape[1] == 1 and bool((slots == reach - 1).all()):
        return None
    hidden = torch.arange(reach) > slots[:, :, None]
    bias = torch.zeros(hidden.shape).masked_fill_(hidden, float("-inf"))
    return bias.repeat_interleave(groups, dim=1)[:, None]
