"""Tiny gated models and judged pairs for the tests of routing and evaluation."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from prism_core.lora.training import save_lora, trainable_lora
from prism_core.lora.weights import PROJECTIONS, LoraWeights, decoder_layers
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import build_prompt
from prism_core.prism.bundle import identify
from prism_core.prism.bundle_files import BundleInfo, write_info
from prism_core.prism.gating.gate import Gate, read_features
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.prism.records import AnswerPair, JudgedPair, Query
from prism_core.types import Completion, Persona, PromptVariant, Verdict

POET = Persona("poet", "Poet", "expert", "verse", {"long": "You are a poet. Answer in verse."})
CHEF = Persona("chef", "Chef", "expert", "cooking", {"long": "You are a chef. Answer with food."})
PEOPLE = {p.name: p for p in (POET, CHEF)}
TEXTS = (
    "Tell me of the sea.",
    "What is 2 + 2?",
    "Name a flightless bird.",
    "Why is the sky blue?",
    "How do I boil an egg?",
    "Write a line about the moon.",
)


def save_random_lora(base: LocalModel, folder: Path) -> None:
    """Save a PEFT folder on layers 1..L-1 with random matrices that visibly change the output."""
    layers = len(decoder_layers(base.model))
    fresh = AutoModelForCausalLM.from_config(base.model.config)
    fresh.load_state_dict(base.model.state_dict())
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=list(PROJECTIONS),
        layers_to_transform=list(range(1, layers)),
    )
    peft = get_peft_model(fresh, config)
    _randomise(peft)
    peft.save_pretrained(folder)


def _randomise(peft: PeftModel) -> None:
    random = torch.Generator().manual_seed(3)
    for name, weight in peft.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=random) * 0.2


def variant_of(name: str) -> PromptVariant:
    return PromptVariant(PEOPLE[name], "long", "system")


def judged_pairs(wanted: bool | None = None) -> list[JudgedPair]:
    """Return six pairs; the persona won the first, third and fifth."""
    pairs = []
    for i, text in enumerate(TEXTS):
        known = None if wanted is None else i % 2 == 0
        query = Query(f"q{i}", "poet" if i < 3 else "chef", f"topic {i}", text, known)
        acting = Completion(f"The answer of number {i} rhymes with the sea", finish="stop")
        pair = AnswerPair(query, acting, Completion("Plain.", finish="stop"))
        verdict = Verdict("persona", 0.9, 0.8) if i % 2 == 0 else Verdict("tie", 0.9, 0.2)
        pairs.append(JudgedPair(pair, verdict))
    return pairs


def tiny_gated(base: LocalModel, folder: Path, opens: int = 2) -> GatedModel:
    """Make a random adapter and a gate that opens for some of `TEXTS`, a bundle in `folder`."""
    with trainable_lora(base.model, 4, 8, seed=3) as peft:
        _randomise(peft)
        save_lora(peft, folder, base.name, "float32")
    prompts = [encode_prompt(base.tokenizer, build_prompt(t, PromptVariant())) for t in TEXTS]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        gate = Gate(base.model.config.hidden_size, "last").eval().requires_grad_(False)
    features = read_features(base.model, prompts, "last")
    gate.mean, gate.spread = features.mean(0), features.std(0) + 1e-6
    ranked = gate(features).sort(descending=True).values
    threshold = float(ranked[opens - 1 : opens + 1].mean())
    gate.save(folder)
    info = BundleInfo("Tiny", identify(base), threshold, personas=("poet", "chef"))
    write_info(folder, info)
    lora = LoraWeights.load(folder, base.model)
    return GatedModel(base, lora, gate, threshold=threshold, adapter_hash="tiny")
