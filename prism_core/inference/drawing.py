"""Drawing the next token of rows that are each sampled in their own way."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from prism_core.inference.rows import Ids, Row
from prism_core.inference.sampling import draw_tokens
from prism_core.types import Sampling


def draw_for(
    rows: Sequence[Row], logits: torch.Tensor, ahead: Sequence[Ids] | None = None
) -> torch.Tensor:
    """Draw a token for each row from logits (B, V); return ids (B,).

    `ahead` holds tokens of each row that are not in its answer yet, such as drafts.
    """
    groups: dict[tuple[float, ...], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(_way(row.sampling), []).append(i)
    steps = [len(row.answer) for row in rows]
    if ahead is not None:
        steps = [n + len(more) for n, more in zip(steps, ahead, strict=True)]
    drawn = torch.empty(len(rows), dtype=torch.long, device=logits.device)
    for members in groups.values():
        sampling = rows[members[0]].sampling
        index = torch.tensor(members, device=logits.device)
        drawn[index] = draw_tokens(
            logits if len(members) == len(rows) else logits[index],
            torch.tensor([rows[i].key for i in members]),
            torch.tensor([steps[i] for i in members], device=logits.device),
            sampling,
            _seen(rows, members, ahead, logits.device) if _penalises(sampling) else None,
        )
    return drawn


def _way(sampling: Sampling) -> tuple[float, ...]:
    """Return what decides how a token is drawn."""
    return (sampling.temperature, sampling.top_p, sampling.top_k, sampling.repetition_penalty)


def _penalises(sampling: Sampling) -> bool:
    return sampling.repetition_penalty != 1.0


def _seen(
    rows: Sequence[Row], members: Sequence[int], ahead: Sequence[Ids] | None, device: torch.device
) -> torch.Tensor:
    """Return the ids so far, (B, T), padded with each row's own first id, which it has seen."""
    lines = [[*rows[i].ids, *(ahead[i] if ahead is not None else ())] for i in members]
    width = max(len(line) for line in lines)
    padded = [line + line[:1] * (width - len(line)) for line in lines]
    return torch.tensor(padded, device=device)
