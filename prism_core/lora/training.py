"""A trainable LoRA on a base model that is borrowed, not kept.

PEFT puts low-rank pairs beside the seven projections of layers 1..L-1 (PRISM, section 4.3; layer 0
is what the gate reads, so it stays the base's). They exist inside a context manager; afterwards
the base model is as it was, with the very same weights. What is saved is a standard PEFT folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from prism_core.errors import ModelError
from prism_core.lora.files import CONFIG_FILE, WEIGHTS_FILE, SaveDtype
from prism_core.lora.fused_map import fuse_maps
from prism_core.lora.weights import PROJECTIONS, decoder_layers, hidden_of
from prism_core.progress import Progress
from prism_core.utils.durable import replacing
from prism_core.utils.layer_hooks import after_layers

_DTYPES: dict[SaveDtype, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


@contextmanager
def trainable_lora(
    model: PreTrainedModel,
    rank: int,
    alpha: float,
    seed: int,
    start: Path | None = None,
    first_layer: int = 1,
) -> Iterator[PeftModel]:
    """Put a fresh LoRA on the model, and take it off again at the end.

    Args:
        model: the base; its own weights are frozen.
        rank: inner size of every pair.
        alpha: scales the update by alpha / rank.
        seed: draws the pairs' first matrices; the second are 0, so that nothing is changed yet.
        start: a PEFT folder of the same shape to go on from.
        first_layer: the lowest layer that is adapted; below it no gradient is needed.

    Raises:
        ModelError: the model lacks the seven projections, or that layer.
    """
    layers = decoder_layers(model)
    adapted = list(range(first_layer, len(layers)))
    if not adapted or first_layer < 1:
        raise ModelError(
            f"A LoRA cannot begin at layer {first_layer}: allowed are 1 to {len(layers) - 1}."
        )
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT takes any number
        target_modules=list(PROJECTIONS),
        layers_to_transform=adapted,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        peft = cast(PeftModel, get_peft_model(model, config))
    try:
        found = sum(name.endswith(".lora_A") for name, _ in peft.named_modules())
        wanted = len(PROJECTIONS) * len(adapted)
        if found != wanted:
            raise ModelError(
                f"{type(model).__name__} has {found} of the {wanted} projections that a LoRA is "
                f"put on ({', '.join(PROJECTIONS)} in layers {first_layer} to {adapted[-1]})."
            )
        if start is not None:
            set_peft_model_state_dict(peft, load_file(start / WEIGHTS_FILE))
        fuse_maps(peft)
        yield peft
    finally:
        peft.unload()
        model.requires_grad_(False)
        if hasattr(model, "peft_config"):
            del model.peft_config


def lora_tensors(peft: PeftModel) -> dict[str, torch.Tensor]:
    """Return the LoRA's matrices under the names that PEFT gives them in a file."""
    found: dict[str, torch.Tensor] = get_peft_model_state_dict(peft, save_embedding_layers=False)
    return dict(sorted(found.items()))


@contextmanager
def stoppable_training(model: PreTrainedModel, progress: Progress) -> Iterator[None]:
    """Let forward and backward passes inside the block end at the next layer on request.

    Raises:
        CancelledError: the cancel event of `progress` was set.
    """

    def backwards(_gradient: torch.Tensor) -> None:
        progress.check()

    def forwards(output: object) -> None:
        progress.check()
        states = hidden_of(output)
        if states.requires_grad:
            states.register_hook(backwards)

    with after_layers(model, forwards):
        yield


def save_lora(peft: PeftModel, folder: Path, base: str, dtype: SaveDtype) -> None:
    """Write a PEFT folder: `adapter_config.json`, then `adapter_model.safetensors`.

    `base` names the base model for readers of the folder; training itself is in fp32, whatever
    the `dtype` of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = dict(peft.peft_config["default"].to_dict())
    config.update(base_model_name_or_path=base, inference_mode=True)
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    text = json.dumps(plain, indent=2, sort_keys=True)
    with replacing(folder / CONFIG_FILE) as partial:
        partial.write_text(text, encoding="utf-8")
    tensors = {k: v.detach().to(_DTYPES[dtype]).cpu() for k, v in lora_tensors(peft).items()}
    with replacing(folder / WEIGHTS_FILE) as partial:
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial, {"format": "pt"})
