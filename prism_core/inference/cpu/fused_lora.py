"""A LoRA on top of fused weights, for the rows of a batch that use it.

1. Maps that share an input are one product in `fused_llama.py`, and so are their updates: the
   downward matrices are concatenated, the upward ones stand on a diagonal of blocks.
2. Each adapter is added to the tokens of its own rows alone, so a row without one keeps its result
   to the bit, and rows of one batch may use different adapters.
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


@dataclass(frozen=True, eq=False)
class FusedLora:
    """An adapter's updates, laid out for fused weights."""

    layers: tuple[LayerLora, ...]


@dataclass(frozen=True)
class _Updated:
    """A linear map with updates of some of its rows; None stands for all rows."""

    linear: LinearMap
    updates: tuple[tuple[LowRank, torch.Tensor | None], ...]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._update(self.linear(x), x)

    def added(self, x: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        return self._update(self.linear.added(x, to), x)

    def _update(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        for low, rows in self.updates:
            if rows is None:
                out.addmm_(x @ low.down, low.up)
            else:
                out.index_add_(0, rows, x[rows] @ low.down @ low.up)
        return out


def over(
    layers: Sequence[LayerMaps], adapters: Sequence[FusedLora | None], counts: Sequence[int]
) -> Sequence[LayerMaps]:
    """Put the rows' adapters on a pass's maps.

    Args:
        layers: the maps.
        adapters: one a row; None where the row uses none.
        counts: tokens of each row in the pass, laid end to end.
    """
    used: dict[FusedLora, list[int]] = {}
    at = 0
    for adapter, number in zip(adapters, counts, strict=True):
        if adapter is not None:
            used.setdefault(adapter, []).extend(range(at, at + number))
        at += number
    if not used:
        return layers
    places = [(a, None if len(on) == at else torch.tensor(on)) for a, on in used.items()]
    return [
        LayerMaps(
            *(
                _Updated(linear, updates) if updates else linear
                for m, linear in enumerate(maps)
                for updates in [_updates_of(places, number, m)]
            )
        )
        for number, maps in enumerate(layers)
    ]


def _updates_of(
    places: Sequence[tuple[FusedLora, torch.Tensor | None]], layer: int, part: int
) -> tuple[tuple[LowRank, torch.Tensor | None], ...]:
    found = [(adapter.layers[layer][part], rows) for adapter, rows in places]
    return tuple((low, rows) for low, rows in found if low is not None)


_FUSED: WeakKeyDictionary[LoraWeights, FusedLora | None] = WeakKeyDictionary()
"""The updates of each adapter in use; it sits on one model."""


def fused_lora(lora: LoraWeights, model: PreTrainedModel) -> FusedLora | None:
    """Lay an adapter out for the fused passes of a model that `can_fuse` accepts.

    None where the adapter changes a map outside the decoder's layers.
    """
    if lora not in _FUSED:
        _FUSED[lora] = _fuse(lora, model)
    return _FUSED[lora]


def _fuse(lora: LoraWeights, model: PreTrainedModel) -> FusedLora | None:
    left = {model.get_submodule(path): pair for path, pair in lora.pairs.items()}
    decoder: Any = model.get_decoder()
    layers = [
        tuple(_diagonal(parts, [left.pop(m, None) for m in parts]) for parts in fused_parts(layer))
        for layer in decoder.layers
    ]
    return None if left else FusedLora(tuple(layers))


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
