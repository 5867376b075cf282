"""Models of real shapes with random weights: as fast as trained ones, and nothing to download.

Their tokenizer knows as many words (`w0`, `w1`, ...) as the model has tokens, so that every answer
is a text that can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

from prism_core.lora.training import save_lora, trainable_lora
from prism_core.lora.weights import LoraWeights
from prism_core.models.local import LocalModel
from prism_core.models.sources import ModelSource
from prism_core.models.weights import LoadedWeights
from prism_core.prism.gating.gate import Gate
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.types import GateMode, Message, Prompt

_TEMPLATE = "{% for message in messages %}{{ message['content'] + ' ' }}{% endfor %}"


@dataclass(frozen=True)
class Shape:
    """A Qwen2 decoder's sizes."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    words: int
    tied: bool
    spread: float = 0.02
    """Standard deviation of the random weights; a tiny model needs more to have any opinion."""


SHAPES = {
    "tiny": Shape(64, 128, 3, 4, 2, 512, True, 0.3),
    "1.5B": Shape(1536, 8960, 28, 12, 2, 151_936, True),
    "7B": Shape(3584, 18_944, 28, 28, 4, 152_064, False),
}
"""The larger two are Qwen2.5's, after the `config.json` of its 1.5B and 7B models."""


def random_model(
    name: str, device: torch.device, dtype: torch.dtype, *, seed: int = 0
) -> LocalModel:
    """Build a model of one of `SHAPES` where it is to run."""
    shape = SHAPES[name]
    config = Qwen2Config(
        vocab_size=shape.words,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=32_768,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        initializer_range=shape.spread,
        bos_token_id=None,
        eos_token_id=None,  # nothing ends a row early in the loops of transformers
        pad_token_id=1,
    )
    torch.manual_seed(seed)
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.eval().requires_grad_(False)
    label = f"random {name}"
    source = ModelSource("folder", label, label)
    return LocalModel(LoadedWeights(model, _tokenizer(shape.words), source, f"{label} {seed}"))


def random_gated(base: LocalModel, folder: Path, *, rank: int = 16) -> GatedModel:
    """Put a random adapter on a model, behind a gate that is asked but never trained."""
    with trainable_lora(base.model, rank, 2 * rank, seed=3) as peft:
        randomise(peft, base.model.config.initializer_range)
        save_lora(peft, folder, base.name, "float32")
    gate = Gate(base.model.config.hidden_size).eval().requires_grad_(False)
    lora = LoraWeights.load(folder, base.model)
    return GatedModel(base, lora, gate.to(base.model.device), adapter_hash="random")


def randomise(peft: PeftModel, spread: float) -> None:
    """Let a fresh LoRA change what the model says."""
    random = torch.Generator().manual_seed(3)
    for name, weight in peft.named_parameters():
        if "lora_" in name:
            weight.data.copy_(torch.randn(weight.shape, generator=random) * spread)


def random_prompts(model: LocalModel, rows: int, tokens: int, seed: int = 0) -> list[Prompt]:
    """Write prompts of `tokens` words and up to a third fewer, no two alike."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(tokens - tokens // 3, tokens + 1, (rows,), generator=random).tolist()
    most = model.model.config.vocab_size
    words = [torch.randint(2, most, (length,), generator=random).tolist() for length in lengths]
    return [(Message("user", " ".join(f"w{i}" for i in row)),) for row in words]


def modes(rows: int) -> dict[str, GateMode | list[GateMode]]:
    """Return what a gate may be told, by name."""
    mixed: list[GateMode] = ["open" if i % 2 else "closed" for i in range(rows)]
    return {"the gate decides": "auto", "closed": "closed", "open": "open", "every second": mixed}


def _tokenizer(words: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel({f"w{i}": i for i in range(words)}, unk_token="w0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="w0",
        eos_token="w1",
        pad_token="w1",
        chat_template=_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
