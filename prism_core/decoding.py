"""The decoding loop: one batch of token rows in, new tokens out, a step at a time.

Rows are padded on the left, and a beginning that several rows share (a persona's text) is read once
for all of them. Rows that have ended leave the batch, so late steps get cheaper. The cancel event
is read at every step. A `Router` may switch an adapter row by row from what it sees in the prefill
(gated inference).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel

from prism_core.adapters import LoraWeights
from prism_core.errors import CancelledError
from prism_core.kv_cache import is_mergeable, merged, new_cache
from prism_core.lean import LeanDecoder, SlotCache
from prism_core.lean_lora import RowLora, row_lora
from prism_core.sampling import draw_tokens, row_keys
from prism_core.speculation import decode_lean
from prism_core.stopping import stoppable
from prism_core.types import Sampling

_ALIKE = 48
"""Rows that begin with this many equal tokens are read as one group."""
_WORTH_SHARING = 256
"""Tokens that have to be saved before a beginning is read apart from its rows' ends."""
_COMPACT_AT = 0.8


class Router(Protocol):
    """Decides in the prefill which rows use an adapter, and keeps to it while decoding."""

    @property
    def decides(self) -> bool:
        """Whether it must see each prompt whole, so that no beginning may be read for several."""

    def prefill(self, mask: torch.Tensor) -> AbstractContextManager[None]:
        """Wraps the prefill's forward pass; `mask` (B, T) is 0 where a row is padded."""

    def decode(self) -> AbstractContextManager[None]:
        """Wraps the forward pass of one decoding step."""

    def select(self, rows: torch.Tensor) -> None:
        """Keep only these rows of the batch."""

    @property
    def lora(self) -> LoraWeights:
        """The adapter."""

    @property
    def is_open(self) -> torch.Tensor:
        """Which rows use the adapter, (B,), on the CPU; told once the prefill is done."""


@dataclass
class _State:
    cache: DynamicCache
    mask: torch.Tensor  # (B, T), 1 where the cache holds a real token
    positions: torch.Tensor  # (B, 1), position of the next token
    seen: torch.Tensor  # (B, T), ids so far, padded with the row's own first id
    rows: torch.Tensor  # (B,), index of each row in the caller's batch

    def keep(self, index: torch.Tensor) -> None:
        self.cache.batch_select_indices(index)
        self.mask, self.positions = self.mask[index], self.positions[index]
        self.seen, self.rows = self.seen[index], self.rows[index]


def shared_prefix(rows: Sequence[Sequence[int]]) -> int:
    """Length of the common beginning, leaving at least one token of every row."""
    shortest = min(len(r) for r in rows) - 1
    first = rows[0]
    for i in range(shortest):
        if any(r[i] != first[i] for r in rows):
            return i
    return shortest


def prefill(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    router: Router | None = None,
) -> tuple[torch.Tensor, DynamicCache, torch.Tensor]:
    """Read a batch of token rows.

    Returns:
        Logits of each row's last token (B, V), the cache, and the mask (B, T) of real tokens.
    """
    first = {tuple(row): i for i, row in reversed(list(enumerate(rows)))}
    if router is None and len(first) < len(rows):
        # Several answers to one prompt: read it once.
        unique = sorted(first.values())
        place = {tuple(rows[i]): k for k, i in enumerate(unique)}
        index = torch.tensor([place[tuple(row)] for row in rows], device=model.device)
        logits, cache, mask = prefill(model, [rows[i] for i in unique])
        cache.batch_select_indices(index)
        return logits[index], cache, mask[index]
    groups = _groups(rows) if router is None else []
    if len(groups) < 2 or not is_mergeable(new_cache(model.config)):
        return _read(model, rows, router)
    parts = [_read(model, [rows[i] for i in group], None) for group in groups]
    order = torch.tensor([i for group in groups for i in group], device=model.device).argsort()
    width = max(mask.shape[1] for _, _, mask in parts)
    masks = [pad(mask, (width - mask.shape[1], 0)) for _, _, mask in parts]
    return (
        torch.cat([logits for logits, _, _ in parts])[order],
        merged([cache for _, cache, _ in parts], order, model.config),
        torch.cat(masks)[order],
    )


def _groups(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Rows that begin alike, group by group; rows that begin like no other make one group."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(rows):
        alike.setdefault(tuple(row[:_ALIKE]), []).append(i)
    alone = [group[0] for group in alike.values() if len(group) == 1]
    return [group for group in alike.values() if len(group) > 1] + ([alone] if alone else [])


def _read(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], router: Router | None
) -> tuple[torch.Tensor, DynamicCache, torch.Tensor]:
    """One forward pass over rows padded together, after one over what they all share."""
    cache = new_cache(model.config)
    shared = shared_prefix(rows) if len(rows) > 1 and router is None else 0
    if shared >= _ALIKE or shared * (len(rows) - 1) >= _WORTH_SHARING:
        head = torch.tensor([list(rows[0][:shared])], device=model.device)
        model(input_ids=head, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(rows))
    else:
        shared = 0
    ids, mask = pad_left([r[shared:] for r in rows], model.device)
    mask = torch.cat([mask.new_ones((len(rows), shared)), mask], dim=1)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, shared:]
    with router.prefill(mask) if router else nullcontext():
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
    return out.logits[:, -1], cache, mask


def decode(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    sampling: Sampling,
    seeds: Sequence[int],
    stop_ids: frozenset[int],
    *,
    cancel: threading.Event | None = None,
    lock: threading.RLock | None = None,
    router: Router | None = None,
    lean: Callable[[], LeanDecoder] | None = None,
) -> Iterator[list[tuple[int, int]]]:
    """Yield, step by step, (row, token id) of every row that is still running.

    A row ends with a stop id, which is yielded, or after `sampling.max_new_tokens`. The iterator
    ends when all rows have ended or `cancel` is set. Where `lean` is given, it is asked for a
    decoder after the first token, and the rows take its faster steps.
    """
    guard = lock or nullcontext()
    keys = row_keys(seeds)
    try:
        with guard, torch.inference_mode(), stoppable(model, cancel):
            if router is None or router.decides:
                logits, cache, mask = prefill(model, rows, router)
            else:
                with router.decode():
                    logits, cache, mask = prefill(model, rows)
    except CancelledError:
        return
    seen = _pad_with_first(rows, model.device)
    if lean is not None:
        with guard, torch.inference_mode():
            lora, fits = _on_packed_weights(model, router)
            slots = SlotCache(cache, mask) if fits else None
        if slots is not None:
            yield from decode_lean(
                lean, slots, logits, sampling, keys, seen, stop_ids, cancel, guard, lora
            )
            return
    state = _State(cache, mask, mask.sum(dim=1, keepdim=True), seen, torch.arange(len(rows)))
    yield from _library_steps(model, state, logits, sampling, keys, stop_ids, cancel, guard, router)


def _on_packed_weights(
    model: PreTrainedModel, router: Router | None
) -> tuple[RowLora | None, bool]:
    """The open rows' adapter, if there are any, and whether packed weights can carry it."""
    if router is None or not bool(router.is_open.any()):
        return None, True
    lora = row_lora(router.lora, model, router.is_open)
    return lora, lora is not None


def _library_steps(
    model: PreTrainedModel,
    state: _State,
    logits: torch.Tensor,
    sampling: Sampling,
    keys: torch.Tensor,
    stop_ids: frozenset[int],
    cancel: threading.Event | None,
    guard: AbstractContextManager[object],
    router: Router | None,
) -> Iterator[list[tuple[int, int]]]:
    """As `decode`, by the library's own layers, from what the prefill left."""
    running = torch.ones(len(state.rows), dtype=torch.bool)
    for step in range(sampling.max_new_tokens):
        if cancel is not None and cancel.is_set():
            return
        with guard, torch.inference_mode():
            drawn = draw_tokens(logits, keys[state.rows], step, sampling, state.seen)
        ids = drawn.tolist()
        yield [(int(r), t) for r, t, on in zip(state.rows, ids, running, strict=True) if on]
        running = running & torch.tensor([t not in stop_ids for t in ids])
        if not bool(running.any()) or step + 1 == sampling.max_new_tokens:
            return
        if cancel is not None and cancel.is_set():
            return
        with guard, torch.inference_mode():
            if float(running.float().mean()) <= _COMPACT_AT:
                index = running.nonzero().squeeze(1)
                state.keep(index)
                drawn, running = drawn[index], running[index]
                if router is not None:
                    router.select(index)
            logits = _step(model, state, drawn, router, sampling)


def _step(
    model: PreTrainedModel,
    state: _State,
    drawn: torch.Tensor,
    router: Router | None,
    sampling: Sampling,
) -> torch.Tensor:
    """Feed one token a row and return the next logits (B, V)."""
    state.mask = torch.cat([state.mask, state.mask.new_ones((len(drawn), 1))], dim=1)
    if sampling.repetition_penalty != 1.0:
        state.seen = torch.cat([state.seen, drawn[:, None]], dim=1)
    with router.decode() if router else nullcontext():
        out = model(
            input_ids=drawn[:, None],
            attention_mask=state.mask,
            position_ids=state.positions,
            past_key_values=state.cache,
            use_cache=True,
        )
    state.positions = state.positions + 1
    return out.logits[:, -1]


def pad_left(
    rows: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of shape (B, T), padded on the left with id 0."""
    width = max(len(r) for r in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(list(row))
        mask[i, width - len(row) :] = 1
    return ids.to(device), mask.to(device)


def _pad_with_first(rows: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Ids (B, T) padded with each row's own first id, so that padding penalises nothing new."""
    width = max(len(r) for r in rows)
    return torch.tensor([[r[0]] * (width - len(r)) + list(r) for r in rows], device=device)
