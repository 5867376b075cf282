"""Log-probabilities of a group's answers with their common prompt read once.

trl reads prompt and answer of each rollout as a row of its own and, where there is no Triton, sends
every position of it through the vocabulary. The rollouts of a group share their prompt, which is
most of the row. Here a group is one row: the prompt, then its answers in turn. Each answer's tokens
see the prompt and their own answer alone (a 4-D mask), at the positions that they would have in a
row of their own, and only the answers go through the vocabulary. The numbers and their gradients
are the same; on a CPU a step takes a fraction of the time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad
from transformers import PreTrainedModel

from prism_core.inference.branches import branch_mask, takes_branches

_HEAD_ROWS = 256
"""Positions that go through the vocabulary together."""
_LOGIT_SCALES = """final_logit_softcapping logit_scale logits_scaling lm_head_multiplier
output_multiplier"""
"""Settings with which some models change the logits after the head."""


def can_share(model: PreTrainedModel) -> bool:
    """Whether every layer has full attention that takes a mask of our own, and logits are plain."""
    config = model.config.get_text_config(decoder=True)
    plain = all(getattr(config, name, None) is None for name in _LOGIT_SCALES.split())
    return plain and takes_branches(model)


def shared_logps(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, keep: int, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the log-probability and entropy of each answer token.

    Args:
        model: the decoder with its head; a LoRA in place acts as usual.
        ids: prompt (padded on the left) and answer (padded on the right) of each rollout, (B, T).
        mask: 1 at real tokens, (B, T).
        keep: width of the answer part.
        temperature: divides the logits.

    Returns:
        Two tensors of shape (B, keep), 0 where the answer is padded.
    """
    groups = _groups(ids, mask, keep)
    rows = [_Row(ids, mask, keep, group) for group in groups]
    width = max(len(row.tokens) for row in rows)
    tokens = torch.stack([pad(row.tokens, (0, width - len(row.tokens))) for row in rows])
    places = torch.stack([pad(row.places, (0, width - len(row.places))) for row in rows])
    parts = torch.stack([row.parts(width) for row in rows])
    decoder: Any = model.get_decoder()
    states = decoder(
        input_ids=tokens,
        attention_mask=branch_mask(parts, model.dtype),
        position_ids=places,
        use_cache=False,
    ).last_hidden_state
    picked = torch.cat([states[i, row.sources] for i, row in enumerate(rows)])
    targets = torch.cat([row.targets for row in rows])
    logps, entropies = _through_head(model, picked, targets, temperature)
    where = torch.cat([row.where for row in rows])
    empty = logps.new_zeros(ids.shape[0] * keep)
    shape = (ids.shape[0], keep)
    return (
        empty.index_put((where,), logps).view(shape),
        empty.index_put((where,), entropies).view(shape).detach(),
    )


class _Row:
    """One group laid out as one row."""

    def __init__(self, ids: torch.Tensor, mask: torch.Tensor, keep: int, group: list[int]) -> None:
        split = ids.shape[1] - keep
        prompt = ids[group[0], :split][mask[group[0], :split].bool()]
        answers = [ids[i, split:][mask[i, split:].bool()] for i in group]
        self.prompt = len(prompt)
        self.sizes = [len(a) for a in answers]
        self.tokens = torch.cat([prompt, *answers])
        arange = torch.arange(int(ids.shape[1]), device=ids.device)
        self.places = torch.cat(
            [arange[: self.prompt], *(arange[:n] + self.prompt for n in self.sizes)]
        )
        self.targets = torch.cat(answers)
        self.where = torch.cat(
            [arange[:n] + i * keep for i, n in zip(group, self.sizes, strict=True)]
        )
        self.sources = self._sources(arange)

    def _sources(self, arange: torch.Tensor) -> torch.Tensor:
        """Find the position that predicts each answer token: the prompt's end, then the answer."""
        found, start = [], self.prompt
        for n in self.sizes:
            if n:
                found += [arange.new_tensor([self.prompt - 1]), start + arange[: n - 1]]
            start += n
        return torch.cat(found) if found else arange[:0]

    def parts(self, width: int) -> torch.Tensor:
        """Say what each position belongs to, (width,); see `branch_mask`."""
        sizes = [self.prompt, *self.sizes, width - len(self.tokens)]
        numbers = [*range(len(sizes) - 1), -1]
        device = self.tokens.device
        return torch.tensor(numbers, device=device).repeat_interleave(
            torch.tensor(sizes, device=device)
        )


def _groups(ids: torch.Tensor, mask: torch.Tensor, keep: int) -> list[list[int]]:
    split = ids.shape[1] - keep
    found: dict[tuple[int, ...], list[int]] = {}
    for i, (row, real) in enumerate(
        zip(ids[:, :split].tolist(), mask[:, :split].tolist(), strict=True)
    ):
        key = tuple(t for t, on in zip(row, real, strict=True) if on)
        found.setdefault(key, []).append(i)
    return list(found.values())


def _through_head(
    model: PreTrainedModel, states: torch.Tensor, targets: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the log-probability of each target and the entropy at its position, (N,) each."""
    head: Any = model.get_output_embeddings()
    logps, entropies = [], []
    for start in range(0, len(targets), _HEAD_ROWS):
        part = slice(start, start + _HEAD_ROWS)
        logits = head(states[part]).float() / temperature
        spread = torch.log_softmax(logits, dim=-1)
        logps.append(spread.gather(1, targets[part, None])[:, 0])
        with torch.no_grad():
            entropies.append(-(spread.exp() * spread).sum(-1))
    if not logps:
        return states.new_zeros(0), states.new_zeros(0)
    return torch.cat(logps), torch.cat(entropies)
