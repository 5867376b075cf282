"""Tiny random decoders, built in-process, for the maths."""

from __future__ import annotations

from functools import partial

import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
)

from prism_core.models.local import LocalModel
from prism_core.models.sources import ModelSource
from prism_core.models.weights import LoadedWeights

_TINY = {
    "vocab_size": 49152,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "initializer_range": 0.3,
}
TINY_CONFIGS = {
    "llama": LlamaConfig,
    "qwen2": Qwen2Config,
    "gemma": GemmaConfig,
    # Looks back 16 tokens, so its caches cannot be cut apart and put together.
    "mistral": partial(MistralConfig, sliding_window=16),
}


def tiny_model(kind: str, tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> LocalModel:
    """Build a random three-layer decoder that reads and writes with the embedded tokenizer."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(TINY_CONFIGS[kind](**_TINY))
    model.eval().requires_grad_(False)
    source = ModelSource("folder", f"tiny-{kind}", f"tiny-{kind}")
    return LocalModel(LoadedWeights(model, tokenizer, source, f"tiny-{kind}-{seed}"))
