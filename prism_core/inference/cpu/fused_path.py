"""The fast path of Llama-type models on a CPU."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from prism_core.inference.cpu.fused_batch import FusedBatch
from prism_core.inference.cpu.fused_llama import FusedDecoder, can_fuse
from prism_core.inference.prefix_cache import PrefixCache


class FusedPath:
    """Fuses a model's weights when they are first needed, and again when they have changed."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._decoder: FusedDecoder | None = None

    def batch(self, prefixes: PrefixCache) -> FusedBatch | None:
        """Make an empty batch; None where the model cannot be fused as it is now."""
        if not can_fuse(self._model):
            return None
        if self._decoder is None or not self._decoder.fits(self._model):
            with torch.inference_mode():
                self._decoder = FusedDecoder(self._model)
        return FusedBatch(self._model, self._decoder, prefixes)
