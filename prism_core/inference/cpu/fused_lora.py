"""A LoRA on top of fused weights, for the rows of a batch that use it.

1. Maps that share an input are one product in `fused_llama.py`, and so are their updates: the
   downward matrices are concatenated, the upward ones stand on a diagonal of blocks.
2. A row that is switched off has the few numbers in the middle multiplied by 0, which leaves its
   result as it was, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedModel

from prism_core.inference.cpu.linear_kernels import LayerMaps, LinearMap, fused_parts
from prism_core.lora.weights import LoraPair, LoraWeights


@dataclass(frozen=True)
class LowRank:
    """The update of one map: `x -> x @ down @ up`."""

    down: torch.Tensor  # (inputs, ranks)
    up: torch.Tensor  # (ranks, outputs), times the adapter's scale


LayerLora = tuple[LowRank | None, ...]
"""One decoder layer's updates, in the order of `LayerMaps`; None where a map has none."""


@dataclass(frozen=True)
class _Updated:
    """A linear map with its update in rows where `on` (M, 1) is 1; None stands for all."""

    linear: LinearMap
    low: LowRank
    on: torch.Tensor | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._update(self.linear(x), x)

    def added(self, x: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        return self._update(self.linear.added(x, to), x)

    def _update(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        low = x @ self.low.down
        return out.addmm_(low if self.on is None else low.mul_(self.on), self.low.up)


@dataclass(frozen=True)
class RowLora:
    """An adapter and the rows of a batch that use it."""

    layers: tuple[LayerLora, ...]
    is_open: torch.Tensor
    """Which rows use the adapter, (B,)."""

    def over(self, layers: Sequence[LayerMaps], tokens: int) -> list[LayerMaps]:
        """Update the maps for so many tokens of each row, in the open rows alone."""
        on = None
        if not bool(self.is_open.all()):
            on = self.is_open.float().repeat_interleave(tokens)[:, None]
        return [
            LayerMaps(
                *(_Updated(m, low, on) if low else m for m, low in zip(maps, lows, strict=True))
            )
            for maps, lows in zip(layers, self.layers, strict=True)
        ]

    def keep(self, index: torch.Tensor) -> RowLora | None:
        """Keep these rows alone; None where none of them uses the adapter."""
        is_open = self.is_open[index]
        return RowLora(self.layers, is_open) if bool(is_open.any()) else None


_FUSED: WeakKeyDictionary[LoraWeights, tuple[LayerLora, ...] | None] = WeakKeyDictionary()
"""The updates of each adapter in use; it sits on one model."""


def row_lora(lora: LoraWeights, model: PreTrainedModel, is_open: torch.Tensor) -> RowLora | None:
    """Prepare an adapter for the fused steps of a batch, on a model that `can_fuse` accepts.

    `is_open` (B,) tells which rows use it. None where the adapter changes a map outside the
    decoder's layers.
    """
    if lora not in _FUSED:
        _FUSED[lora] = _fuse(lora, model)
    layers = _FUSED[lora]
    return None if layers is None else RowLora(layers, is_open)


def _fuse(lora: LoraWeights, model: PreTrainedModel) -> tuple[LayerLora, ...] | None:
    left = {model.get_submodule(path): pair for path, pair in lora.pairs.items()}
    decoder: Any = model.get_decoder()
    layers = [
        tuple(_diagonal(parts, [left.pop(m, None) for m in parts]) for parts in fused_parts(layer))
        for layer in decoder.layers
    ]
    return None if left else tuple(layers)


def _diagonal(parts: Sequence[nn.Linear], pairs: Sequence[LoraPair | None]) -> LowRank | None:
    """Put the updates of maps of the same input, whose outputs are concatenated, into one."""
    found = [pair for pair in pairs if pair is not None]
    if not found:
        return None
    down = torch.cat([pair.down for pair in found])
    blocks = [
        pair.up.T * pair.scale if pair is not None else down.new_zeros((0, part.out_features))
        for part, pair in zip(parts, pairs, strict=True)
    ]
    return LowRank(down.T.contiguous(), torch.block_diag(*blocks))
