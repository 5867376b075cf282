"""Answers with their shared prompt read once: the same numbers and gradients as row by row."""

from __future__ import annotations

import pytest
import torch
from support.tiny_models import tiny_model
from transformers import PreTrainedTokenizerBase

from prism_core.lora.training import trainable_lora
from prism_core.rl.group_logprobs import can_share, shared_logps


def by_rows(model, ids, mask, keep, temperature):
    """Each rollout as a row of its own, every logit computed: the plain way."""
    places = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=places).logits
    spread = torch.log_softmax(logits[:, -keep - 1 : -1] / temperature, dim=-1)
    found = spread.gather(2, ids[:, -keep:, None])[..., 0]
    entropy = -(spread.exp() * spread).sum(-1)
    real = mask[:, -keep:].bool()
    return found.masked_fill(~real, 0.0), entropy.masked_fill(~real, 0.0)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma"])
def test_the_numbers_and_gradients_are_those_of_single_rows(
    kind: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    model = tiny_model(kind, tokenizer).model
    assert can_share(model)
    # Two groups: rows 0, 2, 3 share the prompt 5 6 7 8; row 1 has the prompt 9 10, padded left.
    prompts = [[5, 6, 7, 8], [0, 0, 9, 10], [5, 6, 7, 8], [5, 6, 7, 8]]
    answers = [[11, 12, 2], [13, 2, 0], [14, 0, 0], [15, 16, 17]]
    reals = [[1] * 4, [0, 0, 1, 1], [1] * 4, [1] * 4]
    ends = [[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]]
    ids = torch.tensor([p + a for p, a in zip(prompts, answers, strict=True)])
    mask = torch.tensor([p + a for p, a in zip(reals, ends, strict=True)])
    weights = torch.tensor([[1.0, 2.0, 3.0]] * 4)
    gradients = []
    with trainable_lora(model, 2, 4, seed=0) as peft:
        params = [p for p in peft.parameters() if p.requires_grad]
        with torch.no_grad():
            for p in params:  # a LoRA that has moved, so that every pair has a gradient
                p.add_(0.05)
        for way in (shared_logps, by_rows):
            logps, entropy = way(model, ids, mask, 3, 0.7)
            grads = torch.autograd.grad((logps * weights).sum(), params)
            gradients.append((logps.detach(), entropy.detach(), grads))
    (logps, entropy, grads), (wanted, wanted_entropy, wanted_grads) = gradients
    torch.testing.assert_close(logps, wanted, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(entropy, wanted_entropy, atol=2e-4, rtol=2e-4)
    for one, other in zip(grads, wanted_grads, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)
