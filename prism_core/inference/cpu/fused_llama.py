"""Forward passes of a Llama-type model that decodes on a CPU, without the library's cost a layer.

The library takes some 40 small operations a layer, many of them copies; with few rows they cost
more than the weights' arithmetic. Here a layer takes about 20: query, key and value are one
product, and so are gate and up; keys are read where they lie, once a group of heads. The numbers
are the library's up to rounding. Rows that use an adapter get its low-rank updates on top
(`fused_lora.py`). A model of another make, or one that carries hooks, decodes by the
library's own layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.linalg import vector_norm
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers import LlamaForCausalLM, PreTrainedModel, Qwen2ForCausalLM

from prism_core.errors import CancelledError
from prism_core.inference.cpu.fused_lora import FusedLora, over
from prism_core.inference.cpu.linear_kernels import (
    Int4Linear,
    Int8Linear,
    LayerMaps,
    LinearMap,
    exact_linear,
    fits_int4,
    fused_parts,
)
from prism_core.inference.cpu.slot_cache import SlotCache, visible
from prism_core.inference.rows import Rows
from prism_core.inference.versions import weight_versions
from prism_core.progress import Cancel

_MOST_PARAMETERS = 600_000_000
"""Fusing keeps a second copy of the weights; larger models do without."""


@dataclass(frozen=True)
class _Weights:
    """All linear maps, exact or rounded for drafts."""

    layers: tuple[LayerMaps, ...]
    head: LinearMap | Int8Linear


@dataclass(frozen=True)
class _Pass:
    """Which tokens a forward pass reads, and where they stand."""

    rows: slice  # the cache's rows that it is about
    ids: torch.Tensor  # (N,), the tokens of all rows, end to end
    row: torch.Tensor  # (N,), the row of each, among all rows of the cache
    slot: torch.Tensor  # (N,), the slot that each is written to, its position in the row
    first: int | None  # the one slot where every row's tokens begin, filling the grid; else None
    grid: tuple[int, int]  # rows and the most tokens of one: how attention lays tokens out
    cell: torch.Tensor | None  # (N,), the cell of each token in the grid; None where they fill it
    bias: torch.Tensor | None  # 0 or minus infinity, (rows, 1, cells * groups, reach)
    reach: int  # slots to look at


class FusedDecoder:
    """The forward pass of decoding steps over a `SlotCache`, exact or for drafts."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Fuse the weights of a model that `can_fuse` accepts."""
        decoder: Any = model.get_decoder()
        config = model.config
        attention: Any = decoder.layers[0].self_attn
        self._size = int(attention.head_dim)
        self._heads = int(config.num_attention_heads)
        self._kv = int(config.num_key_value_heads)
        self._epsilon = float(config.rms_norm_eps)
        self._embedding: torch.Tensor = decoder.embed_tokens.weight
        self._rotary = decoder.rotary_emb
        pairs = [(la.input_layernorm, la.post_attention_layernorm) for la in decoder.layers]
        self._norms = [norm.weight for norm in (*chain.from_iterable(pairs), decoder.norm)]
        self.exact = _fuse(model, exact_linear, exact_linear)
        fits = all(fits_int4(m.weight.shape) for m in _linears(model))
        self.draft = _fuse(model, Int4Linear, Int8Linear) if fits else None
        self._built_from = weight_versions(model)

    def fits(self, model: PreTrainedModel) -> bool:
        """Tell whether the model still has the weights that were fused."""
        return weight_versions(model) == self._built_from

    def new_cache(self) -> SlotCache:
        """Make an empty cache."""
        return SlotCache(len(self.exact.layers), self._kv, self._size)

    def read(
        self,
        cache: SlotCache,
        first: int,
        pieces: Rows,
        before: Sequence[int],
        adapters: Sequence[FusedLora | None],
        cancel: Cancel = None,
    ) -> torch.Tensor:
        """Read the next tokens of neighbouring rows, from row `first` of the cache on.

        Each row has `before` tokens in the cache and at least one in `pieces`.

        Returns:
            Logits of each row's last token, (rows, V).

        Raises:
            CancelledError: `cancel` was set; it is asked at every layer.
        """
        lengths = [len(piece) for piece in pieces]
        starts, width = torch.tensor(list(before)), max(lengths)
        row, column = places(lengths)
        slot = starts[row] + column
        reach = int(slot.max()) + 1
        cache.make_room(first + len(pieces), reach)
        # A cell of the grid that holds no token looks where its row's first one looks.
        slots = starts[:, None].repeat(1, width)
        slots[row, column] = slot
        layers = over(self.exact.layers, adapters, lengths)
        read = _Pass(
            rows=slice(first, first + len(pieces)),
            ids=torch.tensor([token for piece in pieces for token in piece]),
            row=row + first,
            slot=slot,
            first=None,
            grid=(len(pieces), width),
            cell=None if len(slot) == len(pieces) * width else row * width + column,
            bias=visible(slots, reach, self._heads // self._kv),
            reach=reach,
        )
        x = self._layers(layers, cache, read, cancel)
        return self.exact.head(self._normed(x[torch.tensor(lengths).cumsum(0) - 1], -1))

    def step(
        self,
        cache: SlotCache,
        ids: torch.Tensor,
        lengths: torch.Tensor,
        adapters: Sequence[FusedLora | None],
        *,
        draft: bool = False,
    ) -> torch.Tensor:
        """Read ids (B, S) of the first B rows, which have `lengths` (B,) tokens in the cache.

        A draft takes the rounded weights, where there are any.

        Returns:
            Logits (B, S, V).
        """
        weights = self.draft if draft and self.draft else self.exact
        rows, new = ids.shape
        starts = lengths.tolist()
        slots = lengths[:, None] + torch.arange(new)
        reach = max(starts) + new
        cache.make_room(rows, reach)
        read = _Pass(
            rows=slice(0, rows),
            ids=ids.reshape(-1),
            row=torch.arange(rows).repeat_interleave(new),
            slot=slots.reshape(-1),
            first=starts[0] if len(set(starts)) == 1 else None,
            grid=(rows, new),
            cell=None,
            bias=visible(slots, reach, self._heads // self._kv),
            reach=reach,
        )
        x = self._layers(over(weights.layers, adapters, [new] * rows), cache, read)
        return weights.head(self._normed(x, -1)).view(rows, new, -1)

    def _layers(
        self, layers: Sequence[LayerMaps], cache: SlotCache, read: _Pass, cancel: Cancel = None
    ) -> torch.Tensor:
        """Run the layers over each token, (N, C); keys and values go to the cache."""
        x = self._embedding[read.ids]
        cos, sin = self._angles(x, read.slot)
        for i, layer in enumerate(layers):
            if cancel is not None and cancel.is_set():
                raise CancelledError("stopped on request")
            qkv = layer.qkv(self._normed(x, 2 * i)).view(len(x), -1, self._size)
            turned = _turn(qkv[:, : self._heads + self._kv], cos, sin)
            _write(cache.keys[i], read, turned[:, self._heads :])
            _write(cache.values[i], read, qkv[:, self._heads + self._kv :])
            k, v = (c[i][read.rows, : read.reach] for c in (cache.keys, cache.values))
            x = layer.out.added(self._attend(turned[:, : self._heads], k, v, read), x)
            gate, up = layer.gate_up(self._normed(x, 2 * i + 1)).chunk(2, dim=-1)
            x = layer.down.added(silu(gate).mul_(up), x)
        return x

    def _attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, read: _Pass
    ) -> torch.Tensor:
        """Attend, (N, C); the heads that share a key count as more queries of it."""
        rows, new = read.grid
        groups = self._heads // self._kv
        if read.cell is not None:
            q = q.new_zeros((rows * new, *q.shape[1:])).index_copy_(0, read.cell, q)
        q = q.reshape(rows, new, self._kv, groups, self._size).permute(0, 2, 1, 3, 4)
        mixed = scaled_dot_product_attention(
            q.reshape(rows, self._kv, new * groups, self._size),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=read.bias,
        )
        mixed = mixed.view(rows, self._kv, new, groups, self._size).permute(0, 2, 1, 3, 4)
        mixed = mixed.reshape(rows * new, -1)
        return mixed if read.cell is None else mixed[read.cell]

    def _normed(self, x: torch.Tensor, norm: int) -> torch.Tensor:
        """Apply the root-mean-square norm of that number to rows (N, C), in few passes."""
        scale = vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        return (x * scale.add_(self._epsilon).rsqrt_()).mul_(self._norms[norm])

    def _angles(
        self, x: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines, and sines with the sign of the half they turn, (N, 1, head size)."""
        cos, sin = self._rotary(x, positions[None])
        sin = sin[0].clone()
        sin[..., : self._size // 2].neg_()
        return cos[0][:, None], sin[:, None]


def can_fuse(model: PreTrainedModel) -> bool:
    """Tell whether a model's decoding steps can be taken here as it is now."""
    if type(model) not in (LlamaForCausalLM, Qwen2ForCausalLM):
        return False
    config = model.config
    layers: Any = model.get_decoder().layers
    return (
        model.device.type == "cpu"
        and model.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and config.hidden_act == "silu"
        and sum(p.numel() for p in model.parameters()) <= _MOST_PARAMETERS
        and not getattr(config, "use_sliding_window", False)
        and not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)
        and all(
            type(m) is nn.Linear and not m._forward_hooks and not m._forward_pre_hooks
            for m in _linears(model)
        )
    )


def _linears(model: PreTrainedModel) -> Iterator[Any]:
    decoder: Any = model.get_decoder()
    for layer in decoder.layers:
        yield from chain.from_iterable(fused_parts(layer))
    yield model.get_output_embeddings()


def _fuse(
    model: PreTrainedModel,
    make: Callable[..., LinearMap],
    last: Callable[..., LinearMap | Int8Linear],
) -> _Weights:
    decoder: Any = model.get_decoder()
    layers = [
        LayerMaps(*(make(*_stacked(parts)) for parts in fused_parts(layer)))
        for layer in decoder.layers
    ]
    head: Any = model.get_output_embeddings()
    return _Weights(tuple(layers), last(*_stacked([head])))


def _stacked(parts: Sequence[nn.Linear]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Concatenate weights and biases of linear maps of the same input."""
    weight = torch.cat([p.weight.detach() for p in parts])
    biases = [p.bias.detach() for p in parts if p.bias is not None]
    return weight, torch.cat(biases) if biases else None


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Apply the rotary embedding to (N, heads, head size)."""
    (low, high), (sin_low, sin_high) = x.chunk(2, dim=-1), sin.chunk(2, dim=-1)
    turned = x * cos
    turned_low, turned_high = turned.chunk(2, dim=-1)
    turned_low.addcmul_(high, sin_low)
    turned_high.addcmul_(low, sin_high)
    return turned


def _write(states: torch.Tensor, read: _Pass, new: torch.Tensor) -> None:
    """Put keys or values (N, kv heads, head size) into one layer's buffer."""
    if read.first is None:
        states.index_put_((read.row, read.slot), new)
    else:  # a slice, in a third of the time
        rows, tokens = read.grid
        states[read.rows, read.first : read.first + tokens] = new.view(rows, tokens, *new.shape[1:])


def places(lengths: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return row and column of each of so many tokens a row, laid end to end, (N,) each."""
    counts = torch.tensor(list(lengths))
    row = torch.arange(len(counts)).repeat_interleave(counts)
    return row, torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
