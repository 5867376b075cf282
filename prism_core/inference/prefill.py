"""The prefill by the library's layers: a batch of prompts read into one key-value cache.

1. Several answers to one prompt: it is read once.
2. A beginning that several rows share (a persona's text), or that is in the prefix cache, is read
   once for all of them.
3. Rows are padded on the left. On a CPU, where padding costs what tokens cost, rows of very
   different lengths are read apart and put together afterwards.
4. Rows with different adapters are read apart; where caches cannot be put together (a sliding
   window), all rows are read in one pass and each adapter is switched on for its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel

from prism_core.inference.kv_cache import cache_of, is_mergeable, merged, new_cache, states_of
from prism_core.inference.padding import pad_left
from prism_core.inference.prefix_cache import PrefixCache
from prism_core.inference.rows import Rows
from prism_core.inference.shared_beginnings import groups_alike, worth_reading_apart
from prism_core.lora.weights import LoraWeights

ALIKE = 48
"""Rows that begin with this many equal tokens are read as one group."""
_WORTH_SHARING = 256
"""Tokens that have to be saved before a beginning is read apart from its rows' ends."""
_PASS_COST = 32
"""What a forward pass costs on a CPU beside its tokens, in tokens."""

Adapters = Sequence[LoraWeights | None]
"""Each row's adapter, or None."""
Read = tuple[torch.Tensor, DynamicCache, torch.Tensor]
"""Logits of each row's last token (B, V), the cache, and the mask (B, T) of real tokens."""


@contextmanager
def active_adapters(model: PreTrainedModel, adapters: Adapters) -> Iterator[None]:
    """Switch each adapter on for its own rows of the forward passes inside the block."""
    rows: dict[LoraWeights, list[int]] = {}
    for i, adapter in enumerate(adapters):
        if adapter is not None:
            rows.setdefault(adapter, []).append(i)
    with ExitStack() as stack:
        for adapter, places in rows.items():
            is_all = len(places) == len(adapters)
            index = None if is_all else torch.tensor(places, device=model.device)
            stack.enter_context(adapter.active(model, index))
        yield


def prefill(
    model: PreTrainedModel,
    rows: Rows,
    adapters: Adapters | None = None,
    prefixes: PrefixCache | None = None,
) -> Read:
    """Read a batch of token rows, each with its adapter, if any."""
    used = list(adapters) if adapters is not None else [None] * len(rows)
    pairs = list(zip(map(tuple, rows), used, strict=True))
    place = {pair: k for k, pair in enumerate(dict.fromkeys(pairs))}
    if len(place) < len(rows):
        index = torch.tensor([place[pair] for pair in pairs], device=model.device)
        logits, cache, mask = prefill(
            model, [row for row, _ in place], [adapter for _, adapter in place], prefixes
        )
        # The copies share nothing afterwards: each sample goes its own way.
        cache.batch_select_indices(index)
        return logits[index], cache, mask[index]
    # Caches of a sliding window or of linear attention cannot be cut apart and put together.
    if not is_mergeable(new_cache(model.config)):
        members = list(range(len(rows)))
        with active_adapters(model, used):
            return _read(model, rows, members, new_cache(model.config), 0)
    parts, order = [], []
    for adapter in dict.fromkeys(used):
        mine = [i for i in range(len(rows)) if used[i] is adapter]
        with active_adapters(model, [adapter]):
            for members, read in _read_groups(model, rows, mine, adapter, prefixes):
                parts.append(read)
                order += members
                if prefixes is not None:
                    _keep(prefixes, adapter, [rows[i] for i in members], read)
    return (
        parts[0]
        if order == list(range(len(rows))) and len(parts) == 1
        else _together(model, parts, order)
    )


def _read_groups(
    model: PreTrainedModel,
    rows: Rows,
    mine: Sequence[int],
    adapter: LoraWeights | None,
    prefixes: PrefixCache | None,
) -> Iterator[tuple[list[int], Read]]:
    """Read the rows `mine`, those that begin alike together; yield which, and what was read."""
    for group in groups_alike([rows[i] for i in mine], ALIKE):
        group = [mine[k] for k in group]
        begun = [rows[i] for i in group]
        # A beginning known from earlier requests makes its row a group of its own.
        known = [prefixes.known(adapter, row[:-1]) if prefixes is not None else 0 for row in begun]
        shared = worth_reading_apart(begun, ALIKE, _WORTH_SHARING)
        if shared >= ALIKE or max(known) < ALIKE:
            groups = [(group, shared)]
        else:
            groups = [([i], k) for i, k in zip(group, known, strict=True)]
        for members, start in groups:
            head = read_head(model, rows[members[0]][:start], adapter, prefixes)
            width = [len(rows[i]) - start for i in members]
            # A GPU reads padding for nothing; there, one large pass is faster than several small.
            apart = model.device.type == "cpu"
            for chunk in _by_width(width) if apart else [range(len(members))]:
                chosen = [members[k] for k in chunk]
                # Reading writes into the head's cache, and the next chunk needs it as it was.
                yield chosen, _read(model, rows, chosen, copy.deepcopy(head), start)


def _keep(prefixes: PrefixCache, adapter: LoraWeights | None, rows: Rows, read: Read) -> None:
    _, cache, mask = read
    for i, row in enumerate(rows):
        real = mask[i].bool()

        def cut(start: int, stop: int, i: int = i, real: torch.Tensor = real) -> torch.Tensor:
            return states_of(cache, i, real)[:, :, start:stop].clone()

        prefixes.add(adapter, row, cut)


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


def read_head(
    model: PreTrainedModel,
    ids: Sequence[int],
    adapter: LoraWeights | None = None,
    prefixes: PrefixCache | None = None,
) -> DynamicCache:
    """Return one row's cache of the beginning that rows share; empty where they share none.

    The caller has switched the adapter on.
    """
    states = prefixes.find(adapter, ids) if prefixes is not None else None
    cache = new_cache(model.config) if states is None else cache_of(states, model.config)
    at = 0 if states is None else states.shape[2]
    if at < len(ids):
        head = torch.tensor([list(ids[at:])], device=model.device)
        # The decoder alone: nobody asks what follows here, and the head is a large product.
        model.get_decoder()(input_ids=head, past_key_values=cache, use_cache=True)
        if prefixes is not None:
            every = torch.ones(len(ids), dtype=torch.bool)
            prefixes.add(adapter, ids, lambda a, b: states_of(cache, 0, every)[:, :, a:b].clone())
    return cache


def _read(
    model: PreTrainedModel, rows: Rows, members: Sequence[int], cache: DynamicCache, shared: int
) -> Read:
    """Read some of the rows in one forward pass, padded together, behind what they share."""
    if shared:
        cache.batch_repeat_interleave(len(members))
    ids, mask = pad_left([rows[i][shared:] for i in members], model.device)
    mask = torch.cat([mask.new_ones((len(members), shared)), mask], dim=1)
    # A row's first real token is at position 0, however much padding stands before it.
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, shared:]
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
