"""A saved adapter on the base model that it was trained for.

The base is recognised by a few numbers of its embedding table, so that a copy in another precision
is accepted and another model refused. What lies in the folder: `prism_core.prism.bundle_files`.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel

from prism_core.errors import ModelError
from prism_core.lora.weights import LoraWeights
from prism_core.models.local import LocalModel
from prism_core.prism.bundle_files import BaseIdentity, BundleInfo, bundle_hash, read_info
from prism_core.prism.gating.gate import Gate
from prism_core.prism.gating.gated_model import GatedModel

_PROBE_ROWS = 16
_PROBE_COLUMNS = 8
_SAME_BASE = 0.98


def identify(model: LocalModel) -> BaseIdentity:
    """Return the identity of a loaded base model."""
    source = model.weights.source
    return BaseIdentity(
        reference=source.reference if source.kind in ("embedded", "hub") else source.label,
        label=source.label,
        revision=model.fingerprint,
        shape=_shape(model.model),
        probe=_probe(model.model),
    )


def check_base(info: BundleInfo, model: LocalModel) -> None:
    """Refuse a base model that the adapter was not trained for.

    Raises:
        ModelError: shape or embedding table differ; the message names both models.
    """
    own = _probe(model.model)
    same_shape = tuple(info.base.shape) == _shape(model.model) and len(info.base.probe) == len(own)
    if same_shape:
        pair = torch.tensor([info.base.probe, own])
        same_shape = bool(torch.corrcoef(pair)[0, 1] >= _SAME_BASE)
    if not same_shape:
        raise ModelError(
            f"The adapter '{info.name}' was trained for {info.base.label}; it does not fit "
            f"{model.name}. Choose {info.base.label} as the model, or train one for this model."
        )


def load_bundle(folder: Path, base: LocalModel, threshold: float | None = None) -> GatedModel:
    """Put a saved adapter on its base, behind its gate, or one that always opens (recipe `rl`).

    Raises:
        NotFoundError, ModelError: the folder is no adapter, is damaged, or is for another base.
    """
    info, model = read_info(folder), load_ungated(folder, base)
    always = info.recipe == "rl"
    model.gate = Gate.always_open(base.model) if always else Gate.load(folder, base.model)
    return model.with_threshold(info.threshold if threshold is None else threshold)


def load_ungated(folder: Path, base: LocalModel) -> GatedModel:
    """Put a saved adapter on its base, on for every prompt; a gate, if it has one, is left out.

    Raises:
        NotFoundError, ModelError: as `load_bundle`.
    """
    info = read_info(folder)
    check_base(info, base)
    found = bundle_hash(folder)
    lora = base.adapters.get_or_make(found, lambda: LoraWeights.load(folder, base.model))
    return GatedModel(base, lora, None, label=info.name, adapter_hash=found)


def _shape(model: PreTrainedModel) -> tuple[int, ...]:
    config = model.config.get_text_config(decoder=True)
    return (int(config.num_hidden_layers), int(config.hidden_size), int(config.vocab_size))


def _probe(model: PreTrainedModel) -> tuple[float, ...]:
    """Read numbers spread over the embedding table, rounded to four places."""
    table = cast(torch.Tensor, model.get_input_embeddings().weight)
    rows = torch.linspace(0, table.shape[0] - 1, _PROBE_ROWS, device=table.device).long()
    columns = torch.linspace(0, table.shape[1] - 1, _PROBE_COLUMNS, device=table.device).long()
    return tuple(round(float(v), 4) for v in table[rows][:, columns].flatten())
