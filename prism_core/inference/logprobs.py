"""Log-likelihoods of given texts, by teacher forcing.

Choices: the prompts' common beginning is read once, each prompt with all its choices in one pass
(`packed_choices`); where that cannot be, each choice continues its prompt's cache. Answers: one
plain forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from transformers import DynamicCache, PreTrainedModel

from prism_core.inference.branch_scoring import can_pack, packed_logprobs
from prism_core.inference.prefill import Router, pad_left, prefill

Rows = Sequence[Sequence[int]]


@torch.inference_mode()
def choice_logprobs(
    model: PreTrainedModel, prompts: Rows, choices: Sequence[Rows]
) -> list[list[float]]:
    """Sum of log p over the tokens of each choice after its prompt, in nats.

    Args:
        model: a decoder.
        prompts: token ids of each prompt, all of one batch.
        choices: for each prompt the token ids of its choices, each at least one token.
    """
    if can_pack(model):
        return packed_logprobs(model, prompts, choices)
    logits, cache, mask = prefill(model, prompts)
    logprobs = logits.float().log_softmax(dim=-1)
    firsts = [[logprobs[i, c[0]].item() for c in row] for i, row in enumerate(choices)]
    longer = [(i, j) for i, row in enumerate(choices) for j, c in enumerate(row) if len(c) > 1]
    if longer:
        owners = torch.tensor([i for i, _ in longer], device=model.device)
        cache.batch_select_indices(owners)
        tails = _tails(model, [choices[i][j] for i, j in longer], cache, mask[owners])
        for (i, j), rest in zip(longer, tails, strict=True):
            firsts[i][j] += sum(rest)
    return firsts


@torch.inference_mode()
def continuation_scores(
    model: PreTrainedModel, prompts: Rows, tails: Sequence[Rows], router: Router | None = None
) -> list[list[tuple[float, bool]]]:
    """Sum of log p over each continuation, and whether each of its tokens is the most probable.

    Arguments as in `choice_logprobs`; no continuation may be empty. A router switches an adapter by
    row.
    """
    logits, cache, mask = prefill(model, prompts, router)
    first = logits.float().log_softmax(dim=-1)
    best = first.argmax(dim=-1).tolist()
    found = [[(first[i, c[0]].item(), best[i] == c[0]) for c in row] for i, row in enumerate(tails)]
    longer = [(i, j) for i, row in enumerate(tails) for j, c in enumerate(row) if len(c) > 1]
    if longer:
        owners = torch.tensor([i for i, _ in longer], device=model.device)
        cache.batch_select_indices(owners)
        if router is not None:
            router.select(owners)
        rows = [tails[i][j] for i, j in longer]
        logits = _tail_logits(model, rows, cache, mask[owners], router)
        targets, real = _pad_right([r[1:] for r in rows], model.device)
        sums = (_gather(logits, targets) * real).sum(dim=1).tolist()
        greedy = ((logits.argmax(dim=-1) == targets) | (real == 0)).all(dim=1).tolist()
        for (i, j), more, is_best in zip(longer, sums, greedy, strict=True):
            value, so_far = found[i][j]
            found[i][j] = (value + more, so_far and is_best)
    return found


def _tails(
    model: PreTrainedModel, rows: Rows, cache: DynamicCache, mask: torch.Tensor
) -> list[list[float]]:
    """Log p of every token but the first of each row, the rows continuing a cache."""
    logits = _tail_logits(model, rows, cache, mask, None)
    targets, _ = _pad_right([r[1:] for r in rows], model.device)
    scores = _gather(logits, targets)
    return [scores[i, : len(r) - 1].tolist() for i, r in enumerate(rows)]


def _tail_logits(
    model: PreTrainedModel,
    rows: Rows,
    cache: DynamicCache,
    mask: torch.Tensor,
    router: Router | None,
) -> torch.Tensor:
    """Logits (B, T, V) behind every token but the last of each row."""
    ids, real = _pad_right([r[:-1] for r in rows], model.device)
    start = mask.sum(dim=1, keepdim=True)
    with router.decode() if router else nullcontext():
        out = model(
            input_ids=ids,
            attention_mask=torch.cat([mask, real], dim=1),
            position_ids=start + torch.arange(ids.shape[1], device=ids.device),
            past_key_values=cache,
            use_cache=True,
        )
    return out.logits


@torch.inference_mode()
def answer_logprobs(model: PreTrainedModel, prompts: Rows, answers: Rows) -> list[list[float]]:
    """Log p of every token of each answer after its prompt, in nats."""
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
    """Log p of the targets (B, T) under logits (B, T, V)."""
    chosen = logits.gather(2, targets[:, :, None]).squeeze(2).float()
    return chosen - logits.float().logsumexp(dim=-1)


def _pad_right(rows: Rows, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of shape (B, T), padded on the right with id 0."""
    width = max(len(r) for r in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(list(row))
        mask[i, : len(row)] = 1
    return ids.to(device), mask.to(device)
