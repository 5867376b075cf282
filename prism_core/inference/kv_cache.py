"""A key-value cache that grows in place.

The library's dynamic layer copies the whole cache at every token. Here a full-attention layer
writes into a buffer that doubles when it is full, so a token costs its own size. Layers of any
other kind (sliding window, linear attention) stay the library's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

_FIRST_SPARE = 64


class GrowingLayer(DynamicLayer):
    """A full-attention layer whose keys and values are views of a larger buffer.

    `keys` and `values` have the shape (B, kv heads, T, head size), as in the library.
    """

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new states in place and return the whole."""
        old_keys, old_values = key_states[:, :, :0], value_states[:, :, :0]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._room = (old_keys, old_values)
        elif self.keys is not None and self.values is not None:
            old_keys, old_values = self.keys, self.values
        key_room = _append(self._room[0], old_keys, key_states)
        value_room = _append(self._room[1], old_values, value_states)
        self._room = (key_room, value_room)
        length = old_keys.shape[2] + key_states.shape[2]
        self.keys, self.values = key_room[:, :, :length], value_room[:, :, :length]
        return self.keys, self.values


def _append(room: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Write `new` behind `old`: in the buffer that `old` is a view of, or in a larger one."""
    rows, heads, length, size = old.shape
    need = length + new.shape[2]
    # Selecting or repeating rows makes `old` a tensor of its own, which starts a new buffer.
    is_view = room.data_ptr() == old.data_ptr() and room.shape[0] == rows
    if not is_view or room.shape[2] < need:
        room = new.new_empty((rows, heads, need + max(_FIRST_SPARE, need // 2), size))
        room[:, :, :length] = old
    room[:, :, length:need] = new
    return room


def new_cache(config: PretrainedConfig) -> DynamicCache:
    """Make an empty cache for a decoder, with growing layers wherever attention is full."""
    cache = DynamicCache(config=config)
    cache.layers = [
        GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def is_mergeable(cache: DynamicCache) -> bool:
    """Tell whether every layer is one of full attention, which `merged` can put together."""
    return all(type(layer) is GrowingLayer for layer in cache.layers)


def merged(
    caches: Sequence[DynamicCache], order: torch.Tensor, config: PretrainedConfig
) -> DynamicCache:
    """Make one cache of several with growing layers, padded on the left to the longest.

    `order` (B,) holds for each row of the result its place in the caches laid end to end. They are
    emptied, layer by layer, to save memory.
    """
    whole = new_cache(config)
    width = max(int(cache.get_seq_length()) for cache in caches)
    for i, layer in enumerate(whole.layers):
        parts: list[Any] = [cache.layers[i] for cache in caches]
        keys = [pad(p.keys, (0, 0, width - p.keys.shape[2], 0)) for p in parts]
        values = [pad(p.values, (0, 0, width - p.values.shape[2], 0)) for p in parts]
        for cache in caches:
            cache.layers[i] = GrowingLayer()
        growing: Any = layer
        growing.update(torch.cat(keys)[order], torch.cat(values)[order])
    return whole


def cache_of(states: torch.Tensor, config: PretrainedConfig) -> DynamicCache:
    """Make one row's cache of states (layers, 2, T, kv heads, head size)."""
    cache = new_cache(config)
    for layer, (keys, values) in zip(cache.layers, states.transpose(2, 3), strict=True):
        growing: Any = layer
        growing.update(keys[None], values[None])
    return cache


def states_of(cache: DynamicCache, row: int, real: torch.Tensor) -> torch.Tensor:
    """Return a row's states where `real` (T,) is true, (layers, 2, T, kv heads, head size)."""
    layers: list[Any] = list(cache.layers)
    return torch.stack(
        [
            torch.stack([states[row][:, real].transpose(0, 1) for states in (la.keys, la.values)])
            for la in layers
        ]
    )
