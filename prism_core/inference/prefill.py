"""The prefill: a batch of prompts read into one key-value cache.

1. Several answers to one prompt: it is read once.
2. A beginning that several rows share (a persona's text) is read once for all of them.
3. Rows are padded on the left. On a CPU, where padding costs what tokens cost, rows of very
   different lengths are read apart and put together afterwards.
A `Router` that decides by what it sees must see every row whole, so its rows share nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel

from prism_core.inference.kv_cache import is_mergeable, merged, new_cache
from prism_core.lora.weights import LoraWeights

ALIKE = 48
"""Rows that begin with this many equal tokens are read as one group."""
_WORTH_SHARING = 256
"""Tokens that have to be saved before a beginning is read apart from its rows' ends."""
_PASS_COST = 32
"""What a forward pass costs on a CPU beside its tokens, in tokens."""

Rows = Sequence[Sequence[int]]
"""Token ids, row by row."""
Read = tuple[torch.Tensor, DynamicCache, torch.Tensor]
"""Logits of each row's last token (B, V), the cache, and the mask (B, T) of real tokens."""


class Router(Protocol):
    """Decides in the prefill which rows use an adapter, and keeps to it while decoding."""

    @property
    def decides(self) -> bool:
        """Whether it must see each prompt whole, so that no beginning may be read for several."""

    def prefill(self, mask: torch.Tensor, rows: Sequence[int]) -> AbstractContextManager[None]:
        """Wrap a forward pass over some rows; `mask` (rows, T) is 0 where a row is padded."""

    def decode(self) -> AbstractContextManager[None]:
        """Wrap the forward pass of one decoding step."""

    def select(self, rows: torch.Tensor) -> None:
        """Keep only these rows of the batch."""

    @property
    def lora(self) -> LoraWeights:
        """The adapter."""

    @property
    def is_open(self) -> torch.Tensor:
        """Which rows use the adapter, (B,), on the CPU; told once the prefill is done."""


def shared_prefix(rows: Rows) -> int:
    """Count the tokens that all rows begin with, leaving at least one token of every row."""
    shortest = min(len(r) for r in rows) - 1
    first = rows[0]
    for i in range(shortest):
        if any(r[i] != first[i] for r in rows):
            return i
    return shortest


def prefill(model: PreTrainedModel, rows: Rows, router: Router | None = None) -> Read:
    """Read a batch of token rows, by a router that decides, if one is given."""
    place = {row: k for k, row in enumerate(dict.fromkeys(map(tuple, rows)))}
    if router is None and len(place) < len(rows):
        index = torch.tensor([place[tuple(row)] for row in rows], device=model.device)
        logits, cache, mask = prefill(model, list(place))
        # The copies share nothing afterwards: each sample goes its own way.
        cache.batch_select_indices(index)
        return logits[index], cache, mask[index]
    # Caches of a sliding window or of linear attention cannot be cut apart and put together.
    can_part = is_mergeable(new_cache(model.config))
    groups = groups_alike(rows) if router is None and can_part else [list(range(len(rows)))]
    parts, order = [], []
    for group in groups:
        shared = _worth_sharing([rows[i] for i in group]) if router is None else 0
        head = read_head(model, rows[group[0]][:shared])
        width = [len(rows[i]) - shared for i in group]
        # A GPU reads padding for nothing; there, one large pass is faster than several small.
        apart = can_part and model.device.type == "cpu"
        for chunk in _by_width(width) if apart else [range(len(group))]:
            members = [group[k] for k in chunk]
            # Reading writes into the head's cache, and the next chunk needs it as it was.
            parts.append(_read(model, rows, members, copy.deepcopy(head), shared, router))
            order += members
    return parts[0] if len(parts) == 1 else _together(model, parts, order)


def _together(model: PreTrainedModel, parts: Sequence[Read], order: Sequence[int]) -> Read:
    """Make one batch of several; `order` names the caller's place of each of their rows."""
    back = torch.tensor(order, device=model.device).argsort()
    width = max(mask.shape[1] for _, _, mask in parts)
    masks = [pad(mask, (width - mask.shape[1], 0)) for _, _, mask in parts]
    return (
        torch.cat([logits for logits, _, _ in parts])[back],
        merged([cache for _, cache, _ in parts], back, model.config),
        torch.cat(masks)[back],
    )


def groups_alike(rows: Rows) -> list[list[int]]:
    """Group rows that begin alike; rows that begin like no other make one group together."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(rows):
        alike.setdefault(tuple(row[:ALIKE]), []).append(i)
    alone = [group[0] for group in alike.values() if len(group) == 1]
    return [group for group in alike.values() if len(group) > 1] + ([alone] if alone else [])


def _worth_sharing(rows: Rows) -> int:
    """Count the tokens of the beginning that is to be read once for all these rows."""
    shared = shared_prefix(rows) if len(rows) > 1 else 0
    # A short beginning pays off only where many rows have it: reading it apart is a pass more.
    is_worth_it = shared >= ALIKE or shared * (len(rows) - 1) >= _WORTH_SHARING
    return shared if is_worth_it else 0


def _by_width(width: Sequence[int]) -> list[list[int]]:
    """Cut rows into chunks so that padding and passes together cost least.

    With the rows sorted, longest first, a chunk costs its first row's width for each of its rows.
    So the best cut of the first n rows follows from those of fewer (dynamic programming).
    """
    ranked = sorted(range(len(width)), key=lambda i: -width[i])
    cost, begin = [0.0], [0]
    for end in range(1, len(ranked) + 1):
        tried = [
            cost[start] + _PASS_COST + (end - start) * width[ranked[start]] for start in range(end)
        ]
        best = min(range(end), key=tried.__getitem__)
        cost.append(tried[best])
        begin.append(best)
    chunks, end = [], len(ranked)
    while end:
        chunks.append(sorted(ranked[begin[end] : end]))
        end = begin[end]
    return chunks


def read_head(model: PreTrainedModel, ids: Sequence[int]) -> DynamicCache:
    """Return one row's cache of the beginning that rows share; empty where they share none."""
    cache = new_cache(model.config)
    if ids:
        head = torch.tensor([list(ids)], device=model.device)
        # The decoder alone: nobody asks what follows here, and the head is a large product.
        model.get_decoder()(input_ids=head, past_key_values=cache, use_cache=True)
    return cache


def _read(
    model: PreTrainedModel,
    rows: Rows,
    members: Sequence[int],
    cache: DynamicCache,
    shared: int,
    router: Router | None,
) -> Read:
    """Read some of the rows in one forward pass, padded together, behind what they share."""
    if shared:
        cache.batch_repeat_interleave(len(members))
    ids, mask = pad_left([rows[i][shared:] for i in members], model.device)
    mask = torch.cat([mask.new_ones((len(members), shared)), mask], dim=1)
    # A row's first real token is at position 0, however much padding stands before it.
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, shared:]
    with router.prefill(mask, members) if router else nullcontext():
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            # As an index, not a number: it makes a copy, which the head reads in one product.
            logits_to_keep=torch.tensor([ids.shape[1] - 1], device=model.device),
        )
    return out.logits[:, -1], cache, mask


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


def batches_by_width(
    width: Sequence[int], max_cells: int, max_rows: int | None = None
) -> Iterator[list[int]]:
    """Yield indices in batches of similar width whose padded size stays within `max_cells`."""
    batch: list[int] = []
    for i in sorted(range(len(width)), key=lambda i: -width[i]):
        is_full = len(batch) == max_rows or (
            batch and width[batch[0]] * (len(batch) + 1) > max_cells
        )
        if is_full:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
