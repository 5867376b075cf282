"""A distilled LoRA that can be switched on row by row (PRISM, section 4.3).

The weights are read from a standard PEFT folder. They act through forward hooks that exist only
inside a context manager: the base model is never changed, several adapters can share one base, and
rows that are switched off cost no LoRA arithmetic and keep the base's result to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from prism_core.errors import ModelError
from prism_core.lora.files import CONFIG_FILE, WEIGHTS_FILE
from prism_core.storage import loads

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The seven linear maps of a decoder layer that the paper adapts."""
_PEFT_PREFIX = "base_model.model."
MAX_RANK, MAX_ALPHA = 4_096, 100_000
"""Far more than any adapter that means well."""


@dataclass(frozen=True)
class LoraPair:
    """One module's low-rank update: `x -> x @ down.T @ up.T * scale`."""

    down: torch.Tensor
    """PEFT's `lora_A`, of shape (rank, inputs)."""
    up: torch.Tensor
    """PEFT's `lora_B`, of shape (outputs, rank)."""
    scale: float
    """alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRA."""

    def delta(self, x: torch.Tensor) -> torch.Tensor:
        """Return the update for inputs of shape (..., inputs)."""
        return nn.functional.linear(nn.functional.linear(x, self.down), self.up) * self.scale


class LoraWeights:
    """An adapter's matrices by module path, as placed on one model."""

    def __init__(self, pairs: dict[str, LoraPair]) -> None:
        self.pairs = pairs

    @classmethod
    def load(cls, folder: Path, model: PreTrainedModel) -> LoraWeights:
        """Read a PEFT folder for a model.

        Raises:
            ModelError: the folder is no plain LoRA, or does not fit the model.
        """
        config = _read_config(folder)
        rank, scale = _rank_and_scale(config)
        try:
            tensors = load_file(folder / WEIGHTS_FILE)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelError(f"The adapter's {WEIGHTS_FILE} cannot be read: {error}.") from error
        return cls(_pair_up(tensors, rank, scale, model))

    @contextmanager
    def active(self, model: PreTrainedModel, rows: torch.Tensor | None = None) -> Iterator[None]:
        """Apply the adapter inside the block: to all rows, or to those whose indices are given."""
        handles = self.attach(model, rows)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def attach(
        self, model: PreTrainedModel, rows: torch.Tensor | None = None
    ) -> list[torch.utils.hooks.RemovableHandle]:
        """Install the hooks and return their handles; prefer `active`."""

        def hook_of(pair: LoraPair) -> Any:
            def hook(_module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
                if rows is None:
                    return output + pair.delta(args[0])
                return output.index_add(0, rows, pair.delta(args[0].index_select(0, rows)))

            return hook

        return [
            model.get_submodule(path).register_forward_hook(hook_of(pair))
            for path, pair in self.pairs.items()
        ]


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the stack of decoder layers of a Llama-, Qwen2- or Gemma-type model.

    Raises:
        ModelError: the model has no such stack.
    """
    layers = getattr(model.get_decoder(), "layers", None)
    if not isinstance(layers, nn.ModuleList) or len(layers) < 2:
        raise ModelError(
            f"{type(model).__name__} has no stack of two or more decoder layers, as gating needs."
        )
    return layers


def hidden_of(output: object) -> torch.Tensor:
    """Return the hidden state of a decoder layer's output, which some models wrap in a tuple."""
    return cast(torch.Tensor, output[0] if isinstance(output, tuple) else output)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"The adapter's {CONFIG_FILE} cannot be read: {error}.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ModelError(f"{CONFIG_FILE} does not describe a LoRA adapter.")
    if config.get("use_dora") or config.get("rank_pattern") or config.get("alpha_pattern"):
        raise ModelError("Only plain LoRA adapters can be gated (no DoRA, no rank patterns).")
    return config


def _rank_and_scale(config: dict[str, Any]) -> tuple[int, float]:
    """Return a LoRA's rank, and what its update is multiplied by."""
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= MAX_RANK:
        raise ModelError(
            f"{CONFIG_FILE} has rank {str(rank)[:40]!r}; it must be 1 to {MAX_RANK:,}."
        )
    if (
        not isinstance(alpha, int | float)
        or isinstance(alpha, bool)
        or not 0 < abs(alpha) <= MAX_ALPHA
    ):
        raise ModelError(
            f"{CONFIG_FILE} has alpha {str(alpha)[:40]!r}; it must be a number up to {MAX_ALPHA:,}."
        )
    return rank, float(alpha / rank**0.5 if config.get("use_rslora") else alpha / rank)


def _pair_up(
    tensors: dict[str, torch.Tensor], rank: int, scale: float, model: PreTrainedModel
) -> dict[str, LoraPair]:
    layer0 = decoder_layers(model)[0]
    first = next(f"{name}." for name, module in model.named_modules() if module is layer0)
    pairs: dict[str, LoraPair] = {}
    used: set[str] = set()
    for key in sorted(k for k in tensors if k.endswith(".lora_A.weight")):
        path = key.removeprefix(_PEFT_PREFIX).removesuffix(".lora_A.weight")
        down, up = tensors[key], tensors.get(key.replace(".lora_A.", ".lora_B."))
        used |= {key, key.replace(".lora_A.", ".lora_B.")}
        try:
            module = model.get_submodule(path)
        except AttributeError as error:
            raise ModelError(f"The adapter changes '{path}', which this model lacks.") from error
        if not isinstance(module, nn.Linear) or up is None:
            raise ModelError(f"The adapter's part for '{path}' is not a LoRA of a linear map.")
        if down.dim() != 2 or up.dim() != 2 or (down.shape[0], up.shape[1]) != (rank, rank):
            raise ModelError(
                f"The adapter's part for '{path}' has shapes {tuple(down.shape)} and "
                f"{tuple(up.shape)}, which are no matrices of rank {rank}."
            )
        if (up.shape[0], down.shape[1]) != tuple(module.weight.shape):
            raise ModelError(
                f"The adapter's part for '{path}' maps {down.shape[1]} to {up.shape[0]} values, "
                f"this model's maps {module.weight.shape[1]} to {module.weight.shape[0]}: "
                "it was trained for another base model."
            )
        if path.startswith(first):
            raise ModelError("The adapter changes layer 0, which the gate reads.")
        pairs[path] = LoraPair(_placed(down, module, path), _placed(up, module, path), scale)
    if not pairs:
        raise ModelError("The adapter holds no LoRA matrices.")
    if odd := sorted(set(tensors) - used):
        raise ModelError(f"The adapter holds {odd[0][:80]!r}, which is no part of a plain LoRA.")
    return pairs


def _placed(tensor: torch.Tensor, module: nn.Linear, path: str) -> torch.Tensor:
    """Return a matrix in the device and number format of its module."""
    placed = tensor.to(module.weight) if tensor.is_floating_point() else None
    if placed is None or not bool(placed.isfinite().all()):
        raise ModelError(
            f"The adapter's part for '{path}' holds values that are no finite numbers."
        )
    return placed
