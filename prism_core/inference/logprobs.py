"""Log-likelihoods of given texts, by teacher forcing.

Choices: the prompts' common beginning is read once, each prompt with all its choices in one pass
(`branch_scoring`); where that cannot be, each choice continues its prompt's cache. Answers: one
plain forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from prism_core.inference.branch_scoring import branch_logprobs, can_branch
from prism_core.inference.padding import pad_left, pad_right
from prism_core.inference.prefill import Adapters, active_adapters, prefill
from prism_core.inference.rows import Rows


def choice_logprobs(
    model: PreTrainedModel, prompts: Rows, choices: Sequence[Rows]
) -> list[list[float]]:
    """Sum log p over the tokens of each choice after its prompt, in nats.

    All prompts are one batch; each has its own choices, of at least one token.
    """
    if can_branch(model):
        return branch_logprobs(model, prompts, choices)
    scored = continuation_scores(model, prompts, choices)
    return [[logprob for logprob, _ in row] for row in scored]


@torch.inference_mode()
def continuation_scores(
    model: PreTrainedModel, prompts: Rows, tails: Sequence[Rows], adapters: Adapters | None = None
) -> list[list[tuple[float, bool]]]:
    """Sum log p over each continuation, and tell whether each of its tokens is the most probable.

    Arguments are those of `choice_logprobs`; each prompt may have its adapter.
    """
    used = list(adapters) if adapters is not None else [None] * len(prompts)
    logits, cache, mask = prefill(model, prompts, used)
    first = logits.float().log_softmax(dim=-1)
    best = first.argmax(dim=-1).tolist()
    found = [[(first[i, c[0]].item(), best[i] == c[0]) for c in row] for i, row in enumerate(tails)]
    longer = [(i, j) for i, row in enumerate(tails) for j, c in enumerate(row) if len(c) > 1]
    if not longer:
        return found
    owners = torch.tensor([i for i, _ in longer], device=model.device)
    cache.batch_select_indices(owners)
    # The prompt predicted the first token; the last one predicts nothing that is asked for.
    ids, real = pad_right([tails[i][j][:-1] for i, j in longer], model.device)
    with active_adapters(model, [used[i] for i, _ in longer]):
        logits = model(
            input_ids=ids,
            attention_mask=torch.cat([mask[owners], real], dim=1),
            position_ids=mask[owners].sum(dim=1, keepdim=True)
            + torch.arange(ids.shape[1], device=ids.device),
            past_key_values=cache,
            use_cache=True,
        ).logits
    targets, _ = pad_right([tails[i][j][1:] for i, j in longer], model.device)
    sums = (_gather(logits, targets).cpu().double() * real.cpu()).sum(dim=1).tolist()
    greedy = ((logits.argmax(dim=-1) == targets) | (real == 0)).all(dim=1).tolist()
    for (i, j), more, is_best in zip(longer, sums, greedy, strict=True):
        value, so_far = found[i][j]
        found[i][j] = (value + more, so_far and is_best)
    return found


@torch.inference_mode()
def answer_logprobs(model: PreTrainedModel, prompts: Rows, answers: Rows) -> list[list[float]]:
    """Return log p of every token of each answer after its prompt, in nats."""
    rows = [list(p) + list(a) for p, a in zip(prompts, answers, strict=True)]
    keep = max(len(a) for a in answers) + 1
    ids, mask = pad_left(rows, model.device)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        logits_to_keep=keep,
        use_cache=False,
    )
    scores = _gather(out.logits[:, :-1], ids[:, -(keep - 1) :])
    return [scores[i, keep - 1 - len(a) :].tolist() for i, a in enumerate(answers)]


def _gather(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return log p of the targets (B, T) under logits (B, T, V)."""
    chosen = logits.gather(2, targets[:, :, None]).squeeze(2).float()
    return chosen - logits.float().logsumexp(dim=-1)
