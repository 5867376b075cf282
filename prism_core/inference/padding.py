"""Rows of different lengths side by side."""

from __future__ import annotations

import torch

from prism_core.inference.rows import Rows


def pad_left(rows: Rows, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask of shape (B, T), padded on the left with id 0."""
    return _pad(rows, device, is_left=True)


def pad_right(rows: Rows, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask of shape (B, T), padded on the right with id 0."""
    return _pad(rows, device, is_left=False)


def _pad(rows: Rows, device: torch.device, *, is_left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(r) for r in rows)
    ids, mask = torch.zeros((2, len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        start = width - len(row) if is_left else 0
        ids[i, start : start + len(row)] = torch.tensor(list(row))
        mask[i, start : start + len(row)] = 1
    return ids.to(device), mask.to(device)
