"""Copies of a linear map's weights, laid out for decoding on a CPU.

`exact_linear` holds them in the blocks that a library's kernels read, MKL's or else oneDNN's: the
same numbers, faster. The others are for drafts that an exact pass checks (`speculation.py`):
`Int4Linear` rounds to 4 bits, in groups of 32 with a scale and an offset each, an eighth of the
memory to read; `Int8Linear` rounds to 8 bits, for the last map, where an error decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

GROUP = 32
"""Weights that share a scale; the block of the GGUF formats as well."""
_TILES = 2
_PLANNED_ROWS = 64
_MULTIPLE = 16


class LinearMap(Protocol):
    """A linear map of rows."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map rows (M, inputs) to (M, outputs), in memory of its own."""

    def added(self, x: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        """Return `to + self(x)`, in memory of its own."""
        return self(x).add_(to)


class LayerMaps(NamedTuple):
    """One decoder layer's linear maps; those with the same input are one."""

    qkv: LinearMap
    out: LinearMap
    """Attention's output."""
    gate_up: LinearMap
    down: LinearMap


def fused_parts(layer: nn.Module) -> tuple[tuple[nn.Linear, ...], ...]:
    """Return a layer's linear maps, those of one input together, in the order of `LayerMaps`."""
    parts: Any = layer
    a, m = parts.self_attn, parts.mlp
    return (a.q_proj, a.k_proj, a.v_proj), (a.o_proj,), (m.gate_proj, m.up_proj), (m.down_proj,)


def exact_linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> LinearMap:
    """Make `x -> x @ weight.T + bias` in fp32, by the fastest kernel that there is."""
    return (MklLinear if mkl_blocks_fit_all() else OneDnnLinear)(weight, bias)


class MklLinear(LinearMap):
    """`x -> x @ weight.T + bias` in fp32, from MKL's blocks of weights."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, _PLANNED_ROWS)
        # The operator asks the weight for nothing but its shape; so it takes no memory.
        self._shape = weight.new_empty(1).expand(weight.shape)
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map rows (M, inputs) to (M, outputs)."""
        # With the true number of rows, or the operator would go back to the weight itself.
        out: torch.Tensor = torch.ops.mkl._mkl_linear(
            x, self._packed, self._shape, self._bias, len(x)
        )
        return out


@cache
def mkl_blocks_fit_all() -> bool:
    """Try whether MKL is there, and reads blocks laid out for one number of rows with any other.

    Its reference does not say, and the layout depends on the processor.
    """
    if not torch.backends.mkl.is_available():
        return False
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(192, 96, generator=random)
    counts = (1, 2, 7, 16, 48, _PLANNED_ROWS, 100, 300)
    sizes = {torch.ops.mkl._mkl_reorder_linear_weight(weight, n).shape for n in counts}
    linear = MklLinear(weight)
    rows = [torch.randn(n, 96, generator=random) for n in counts]
    return len(sizes) == 1 and all(torch.allclose(linear(x), x @ weight.T, atol=1e-3) for x in rows)


class OneDnnLinear:
    """`x -> x @ weight.T + bias` in fp32, from oneDNN's blocks of weights."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, _PLANNED_ROWS)
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map rows (M, inputs) to (M, outputs)."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._packed, self._bias, "none", [], ""
        )
        return out

    def added(self, x: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        """Return `to + self(x)` in one go."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, to, self._packed, self._bias, "add"
        )
        return out


class Int4Linear(LinearMap):
    """About `x -> x @ weight.T + bias`, from weights of 4 bits."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        codes, scales = quantise(weight)
        self._codes = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, _TILES)
        self._scales = scales
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map rows (M, inputs) to (M, outputs)."""
        out: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
            x.bfloat16(), self._codes, GROUP, self._scales
        ).float()
        return out if self._bias is None else out.add_(self._bias)


class Int8Linear:
    """About `x -> x @ weight.T + bias`, from weights of 8 bits and a scale for each output."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        scale = (weight.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-9)
        self._codes = (weight / scale).round_().to(torch.int8)
        self._scales = scale[:, 0].bfloat16()
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map rows (M, inputs) to (M, outputs)."""
        out = torch._weight_int8pack_mm(x.bfloat16(), self._codes, self._scales).float()
        return out if self._bias is None else out.add_(self._bias)


def fits_int4(shape: Sequence[int]) -> bool:
    """Tell whether the 4-bit kernel takes a weight of this shape (outputs, inputs)."""
    return shape[0] % _MULTIPLE == 0 and shape[1] % GROUP == 0


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round a weight to 16 levels a group, from the group's least to its largest value.

    Returns:
        Codes 0 to 15 of the weight's shape (outputs, inputs), int32; scales and offsets in
        bf16 of shape (inputs / 32, outputs, 2): a weight is about (code - 8) * scale + offset.
    """
    groups = weight.reshape(weight.shape[0], -1, GROUP)
    low, high = groups.aminmax(dim=-1, keepdim=True)
    scale = ((high - low) / 15).clamp(min=1e-9)
    codes = ((groups - low) / scale).round_().clamp_(0, 15).to(torch.int32)
    pair = torch.cat([scale, low + 8 * scale], dim=-1)  # (outputs, groups, 2)
    return codes.reshape(weight.shape), pair.transpose(0, 1).contiguous().bfloat16()
