"""Several continuations of one beginning in one row, each as if it stood alone: a 4-D mask."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from prism_core.inference.kv_cache import is_mergeable, new_cache

_ATTENTION = ("sdpa", "eager")


def takes_branches(model: PreTrainedModel) -> bool:
    """Tell whether every layer has full attention that takes a mask of our own."""
    config = model.config.get_text_config(decoder=True)
    attention = getattr(config, "_attn_implementation", None)
    return attention in _ATTENTION and is_mergeable(new_cache(config))


def branch_mask(part: torch.Tensor, dtype: torch.dtype, before: int = 0) -> torch.Tensor:
    """Mask what each column attends to: 0 where it may, else the lowest number.

    A branch sees the beginning and itself, up to the column in question. Padding sees itself and
    nothing else, for attention to nothing at all would not be a number.

    Args:
        part: what each column belongs to, (B, T): -1 padding, 0 the beginning, then 1, 2, ...
        dtype: of the mask.
        before: columns in the cache, which all see.

    Returns:
        The mask, (B, 1, T, before + T).
    """
    width = part.shape[1]
    query, key = part[:, :, None], part[:, None, :]
    causal = torch.ones(width, width, dtype=torch.bool, device=part.device).tril()
    sees = causal & (key >= 0) & ((key == 0) | (key == query))
    sees = sees | torch.eye(width, dtype=torch.bool, device=part.device)
    sees = torch.cat([sees.new_ones((len(sees), width, before)), sees], dim=2)
    low = torch.zeros(sees.shape, dtype=dtype, device=part.device)
    return low.masked_fill_(~sees, torch.finfo(dtype).min)[:, None]
