"""The decoding steps of a Llama-type model on a CPU, without the library's cost per layer.

The library takes some 40 small operations a layer, many of them copies; with few rows they cost
more than the weights' arithmetic. Here a layer takes about 20: query, key and value are one
product, and so are gate and up; keys are read where they lie, once a group of heads. The numbers
are the library's up to rounding. Rows that use an adapter get its low-rank updates on top
(`prism_core/lean_lora.py`). A model of another make, or one that carries hooks, decodes by the
library's own layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedModel, Qwen2ForCausalLM

from prism_core.lean_lora import RowLora
from prism_core.packed import (
    CoarseLinear,
    ExactLinear,
    FairLinear,
    LayerMaps,
    can_be_coarse,
    fused_parts,
)

Linear = ExactLinear | CoarseLinear
_SPARE = 64
_MOST_PARAMETERS = 600_000_000
"""Packing keeps a second copy of the weights; larger models do without."""


@dataclass(frozen=True)
class _Weights:
    """All linear maps, exact or coarse."""

    layers: tuple[LayerMaps, ...]
    head: Linear | FairLinear


class SlotCache:
    """Keys and values of a batch, each row's next token in the slot behind its last.

    The prefill leaves rows of one width, some with padding; from there each row grows at its own
    pace, and row b's token at position p lies in slot `padding[b] + p`. A buffer has the shape
    (B, slots, kv heads, head size).
    """

    def __init__(self, cache: DynamicCache, mask: torch.Tensor) -> None:
        """Take over a prefill's cache, which is emptied, and its mask (B, T)."""
        width = mask.shape[1]
        self.is_real = mask.bool()
        self.padding = width - mask.sum(dim=1)
        self.used = torch.full_like(self.padding, width)
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        for i, layer in enumerate(cache.layers):
            whole: Any = layer
            self.keys.append(_roomy(whole.keys.transpose(1, 2), width + _SPARE))
            self.values.append(_roomy(whole.values.transpose(1, 2), width + _SPARE))
            cache.layers[i] = type(whole)()

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


def _roomy(old: torch.Tensor, slots: int) -> torch.Tensor:
    rows, length, heads, size = old.shape
    # Slots not yet written must hold numbers: a weight of nought times NaN would be NaN.
    room = old.new_zeros((rows, slots, heads, size))
    room[:, :length] = old
    return room


class LeanDecoder:
    """The forward pass of decoding steps over a `SlotCache`, exact or coarse."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Pack the weights of a model that `is_lean` accepts."""
        decoder: Any = model.get_decoder()
        config = model.config
        attention: Any = decoder.layers[0].self_attn
        self._size = int(attention.head_dim)
        self._heads = int(config.num_attention_heads)
        self._kv = int(config.num_key_value_heads)
        self._epsilon = float(config.rms_norm_eps)
        self._embedding: torch.Tensor = decoder.embed_tokens.weight
        self._rotary = decoder.rotary_emb
        self._norms = [
            (layer.input_layernorm.weight, layer.post_attention_layernorm.weight)
            for layer in decoder.layers
        ]
        self._last_norm = decoder.norm.weight
        self.exact = _pack(model, ExactLinear, ExactLinear)
        fits = all(can_be_coarse(m.weight.shape) for m in _linears(model))
        self.coarse = _pack(model, CoarseLinear, FairLinear) if fits else None
        self._built_from = _versions(model)

    def fits(self, model: PreTrainedModel) -> bool:
        """Whether the model still has the weights that were packed."""
        return _versions(model) == self._built_from

    def step(
        self,
        cache: SlotCache,
        ids: torch.Tensor,
        ahead: int = 0,
        *,
        coarse: bool = False,
        lora: RowLora | None = None,
    ) -> torch.Tensor:
        """Read ids (B, S) into the slots that start `ahead` of each row's end.

        Args:
            cache: keys and values so far.
            ids: the tokens.
            ahead: how many tokens lie between each row's end and these.
            coarse: take the rounded weights.
            lora: the adapter and the rows that use it, if any do.

        Returns:
            Logits (B, S, V). The cache's `used` is left to the caller.
        """
        weights = self.coarse if coarse and self.coarse else self.exact
        rows, new = ids.shape
        layers = lora.over(weights.layers, new) if lora else weights.layers
        slots = (cache.used + ahead)[:, None] + torch.arange(new)
        x = self._embedding[ids.reshape(-1)]
        cos, sin = self._angles(x, slots - cache.padding[:, None])
        reach = int(slots.max()) + 1
        cache.reach(reach)
        bias = _visible(cache.is_real, slots, reach, self._heads // self._kv)
        where = (torch.arange(rows)[:, None], slots)
        for i, layer in enumerate(layers):
            before, after = self._norms[i]
            h = rms_norm(x, (x.shape[-1],), before, self._epsilon)
            qkv = layer.qkv(h).view(rows, new, -1, self._size)
            turned = _turn(qkv[:, :, : self._heads + self._kv], cos, sin)
            cache.keys[i].index_put_(where, turned[:, :, self._heads :])
            cache.values[i].index_put_(where, qkv[:, :, self._heads + self._kv :])
            k, v = cache.keys[i][:, :reach], cache.values[i][:, :reach]
            x = layer.out.added(self._attend(turned[:, :, : self._heads], k, v, bias), x)
            h = rms_norm(x, (x.shape[-1],), after, self._epsilon)
            gate, up = layer.gate_up(h).chunk(2, dim=-1)
            x = layer.down.added(silu(gate).mul_(up), x)
        x = rms_norm(x, (x.shape[-1],), self._last_norm, self._epsilon)
        return weights.head(x).view(rows, new, -1)

    def _attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention; the heads that share a key count as more queries of it, (B * S, C)."""
        rows, new, _, size = q.shape
        groups = self._heads // self._kv
        q = q.reshape(rows, new, self._kv, groups, size).permute(0, 2, 1, 3, 4)
        mixed = scaled_dot_product_attention(
            q.reshape(rows, self._kv, new * groups, size),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=bias,
        )
        mixed = mixed.view(rows, self._kv, new, groups, size).permute(0, 2, 1, 3, 4)
        return mixed.reshape(rows * new, -1)

    def _angles(
        self, x: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines, and sines with the sign of the half they turn, (B, S, 1, head size)."""
        cos, sin = self._rotary(x, positions)
        sin = sin.clone()
        sin[..., : self._size // 2].neg_()
        return cos[:, :, None], sin[:, :, None]


def is_lean(model: PreTrainedModel) -> bool:
    """Whether a model's decoding steps can be taken here as it is now."""
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


def _versions(model: PreTrainedModel) -> tuple[tuple[int, int], ...]:
    """Changes whenever a parameter is replaced or written to."""
    return tuple((p.data_ptr(), p._version) for p in model.parameters())


def _pack(
    model: PreTrainedModel, make: Callable[..., Linear], last: Callable[..., Linear | FairLinear]
) -> _Weights:
    decoder: Any = model.get_decoder()
    layers = [
        LayerMaps(*(make(*_stacked(parts)) for parts in fused_parts(layer)))
        for layer in decoder.layers
    ]
    head: Any = model.get_output_embeddings()
    return _Weights(tuple(layers), last(*_stacked([head])))


def _stacked(parts: Sequence[nn.Linear]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weights and biases of linear maps of the same input, one behind the other."""
    weight = torch.cat([p.weight.detach() for p in parts])
    biases = [p.bias.detach() for p in parts if p.bias is not None]
    return weight, torch.cat(biases) if biases else None


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of (B, S, heads, head size)."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)


def _visible(
    is_real: torch.Tensor, slots: torch.Tensor, reach: int, groups: int
) -> torch.Tensor | None:
    """0 where a token may look and minus infinity elsewhere, (B, 1, S * groups, reach)."""
    if slots.shape[1] == 1 and bool((slots == reach - 1).all()) and bool(is_real.all()):
        return None
    hidden = torch.arange(reach) > slots[:, :, None]
    hidden[:, :, : is_real.shape[1]] |= ~is_real[:, None]
    bias = torch.zeros(hidden.shape).masked_fill_(hidden, float("-inf"))
    return bias.repeat_interleave(groups, dim=1)[:, None]
