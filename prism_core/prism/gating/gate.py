"""The gate: P(persona helps | query), from an early hidden state (PRISM, section 4.2, equation 5).

A small MLP, h -> 128 -> 64 -> 1 with GELU and a sigmoid, reads what decoder layer 0 makes of the
prompt: its last token's state (the paper's choice), the mean over the prompt, or both. Features are
standardised by the training part's mean and spread, which travel with the weights (a departure from
the paper, which feeds raw states).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from prism_core.errors import ModelError
from prism_core.inference.padding import pad_left
from prism_core.inference.widths import batches_by_width
from prism_core.lora.weights import decoder_layers, hidden_of
from prism_core.prism.gating.settings import FEATURES, GATE_FILE, Feature

_HIDDEN = (128, 64)
_BATCH_TOKENS = 16_384
_CERTAIN = 50.0
"""Log-odds whose probability is 1 in fp32."""


class Gate(nn.Module):
    """P(persona helps | query) from features of shape (B, F); untrained when made.

    Args:
        size: the model's hidden size h; F is h, or 2 h for `both`.
        feature: what it reads.
    """

    def __init__(self, size: int, feature: Feature = "last") -> None:
        super().__init__()
        self.feature: Feature = feature
        width = size * (2 if feature == "both" else 1)
        self.net = nn.Sequential(
            nn.Linear(width, _HIDDEN[0]),
            nn.GELU(),
            nn.Linear(_HIDDEN[0], _HIDDEN[1]),
            nn.GELU(),
            nn.Linear(_HIDDEN[1], 1),
        )
        self.mean: torch.Tensor
        self.spread: torch.Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    @classmethod
    def constant(cls, size: int, feature: Feature, log_odds: float) -> Gate:
        """Make a gate that says the same of every query."""
        with torch.random.fork_rng(devices=[]):  # making it draws numbers, which nobody may notice
            gate = cls(size, feature).eval().requires_grad_(False)
        for parameter in gate.parameters():
            parameter.zero_()
        cast(nn.Linear, gate.net[-1]).bias.fill_(log_odds)
        return gate

    @classmethod
    def always_open(cls, model: PreTrainedModel) -> Gate:
        """Make a gate that says 1 whatever it reads, for adapters that have none of their own."""
        size = model.config.get_text_config(decoder=True).hidden_size
        return cls.constant(size, "last", _CERTAIN).to(model.device)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return log-odds of shape (B,)."""
        x = (features.float() - self.mean) / self.spread
        return cast(torch.Tensor, self.net(x)).squeeze(-1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return probabilities of shape (B,) (equation 5)."""
        return self.logits(features).sigmoid()

    def save(self, folder: Path) -> None:
        """Write `gate.safetensors`."""
        tensors = {k: v.contiguous().cpu() for k, v in self.state_dict().items()}
        save_file(tensors, folder / GATE_FILE, metadata={"feature": self.feature})

    @classmethod
    def load(cls, folder: Path, model: PreTrainedModel) -> Gate:
        """Read a gate for a model.

        Raises:
            ModelError: the file is damaged or made for another hidden size.
        """
        try:
            with safe_open(folder / GATE_FILE, "pt") as file:
                feature = (file.metadata() or {}).get("feature", "")
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelError(f"The adapter's {GATE_FILE} cannot be read: {error}.") from error
        if feature not in FEATURES:
            raise ModelError(f"{GATE_FILE} reads the feature '{feature}'; known: {FEATURES}.")
        if any(not t.is_floating_point() or not bool(t.isfinite().all()) for t in tensors.values()):
            raise ModelError(f"{GATE_FILE} holds values that are no finite numbers.")
        gate = cls(model.config.get_text_config(decoder=True).hidden_size, feature)
        try:
            gate.load_state_dict(tensors)
        except RuntimeError as error:
            raise ModelError(
                f"The gate does not fit this model: {str(error).splitlines()[-1].strip()}"
            ) from error
        if not bool((gate.spread > 0).all()):
            raise ModelError(f"{GATE_FILE} has a spread of features that is not above 0.")
        return gate.to(model.device).eval().requires_grad_(False)


def pool(hidden: torch.Tensor, mask: torch.Tensor, feature: Feature) -> torch.Tensor:
    """Pool layer 0's output (B, T, h) of prompts padded on the left to features (B, F)."""
    last = hidden[:, -1]
    if feature == "last":
        return last
    weights = mask.to(hidden.dtype)[:, :, None]
    mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
    return mean if feature == "mean" else torch.cat([last, mean], dim=-1)


class _LayerReached(Exception):
    """Carries layer 0's output out of a forward pass that need not go on."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden


@torch.inference_mode()
def read_features(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], feature: Feature = "both"
) -> torch.Tensor:
    """Read the gate's features (B, F) of token rows, fp32 on the CPU; computes layer 0 alone."""

    def stop(_module: nn.Module, _args: object, output: object) -> None:
        raise _LayerReached(hidden_of(output))

    found: dict[int, torch.Tensor] = {}
    handle = decoder_layers(model)[0].register_forward_hook(stop)
    try:
        for batch in batches_by_width([len(row) for row in rows], _BATCH_TOKENS):
            ids, mask = pad_left([rows[i] for i in batch], model.device)
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            try:
                model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
            except _LayerReached as reached:
                features = pool(reached.hidden, mask, feature).float().cpu()
                found.update(zip(batch, features, strict=True))
    finally:
        handle.remove()
    return torch.stack([found[i] for i in range(len(rows))])


def part_of(features: torch.Tensor, feature: Feature) -> torch.Tensor:
    """Select the columns of `both` features (last, then mean) that a feature names."""
    half = features.shape[1] // 2
    return {"last": features[:, :half], "mean": features[:, half:], "both": features}[feature]
