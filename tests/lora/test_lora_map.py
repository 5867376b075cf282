"""The fused LoRA map against PEFT's own, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from support.tiny_models import tiny_model
from transformers import PreTrainedTokenizerBase

from prism_core.lora.fused_map import fuse_maps

IDS = torch.tensor([[5, 6, 7, 8, 9], [9, 3, 2, 4, 1]])


@pytest.fixture
def peft(tokenizer: PreTrainedTokenizerBase, request: pytest.FixtureRequest) -> PeftModel:
    """A tiny model with a LoRA that does something, from layer 1 on."""
    kind = getattr(request, "param", "llama")
    config = LoraConfig(
        r=3,
        lora_alpha=12,
        target_modules=["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"],
        layers_to_transform=[1, 2],
        init_lora_weights=False,
    )
    return get_peft_model(tiny_model(kind, tokenizer).model, config)


def learn(peft: PeftModel) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, and the gradient of every trained matrix."""
    peft.zero_grad()
    logits = peft(input_ids=IDS).logits
    logits.square().mean().backward()
    trained = {n: p.grad for n, p in peft.named_parameters() if p.requires_grad}
    assert all(grad is not None for grad in trained.values())
    return logits.detach(), {n: g.clone() for n, g in trained.items() if g is not None}


@pytest.mark.parametrize("peft", ["llama", "qwen2", "gemma"], indirect=True)
def test_outputs_and_gradients_are_pefts(peft: PeftModel) -> None:
    logits, gradients = learn(peft)
    fuse_maps(peft)
    fused, same = learn(peft)
    assert torch.allclose(fused, logits, atol=1e-5)
    assert len(same) == 2 * 5 * 2  # down and up, five maps, two layers
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 0
        assert torch.allclose(same[name], gradient, rtol=1e-4, atol=1e-6), name


def test_without_its_adapter_the_model_is_the_base(peft: PeftModel) -> None:
    fuse_maps(peft)
    on = peft(input_ids=IDS).logits
    with peft.disable_adapter():
        off = peft(input_ids=IDS).logits
    base = peft.unload()
    assert torch.equal(base(input_ids=IDS).logits, off)
    assert not torch.allclose(on, off, atol=1e-3)


def test_other_number_formats_are_left_to_peft(peft: PeftModel) -> None:
    fuse_maps(peft)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = peft(input_ids=IDS).logits.float().square().mean()
    loss.backward()
    grads = [p.grad for p in peft.parameters() if p.requires_grad]
    assert all(g is not None and g.dtype == torch.float32 and g.abs().max() > 0 for g in grads)
