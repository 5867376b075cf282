"""The decoding loop: one batch of token rows in, new tokens out, a step at a time.

Rows that have ended leave the batch, so late steps get cheaper. The cancel event is read at every
step. A `Router` may switch an adapter row by row from what it sees in the prefill (gated
inference).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel

from prism_core.errors import CancelledError
from prism_core.inference.cpu.fused_llama import FusedDecoder
from prism_core.inference.cpu.fused_lora import RowLora, row_lora
from prism_core.inference.cpu.fused_prefill import is_worth_fusing, read_rows
from prism_core.inference.cpu.slot_cache import SlotCache
from prism_core.inference.cpu.speculation import COMPACT_AT, decode_speculatively
from prism_core.inference.prefill import Router, prefill
from prism_core.inference.sampling import draw_tokens, row_keys
from prism_core.inference.stopping import DecodingJob, stoppable
from prism_core.progress import Cancel
from prism_core.types import Sampling


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


def decode(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    sampling: Sampling,
    seeds: Sequence[int],
    stop_ids: frozenset[int],
    *,
    cancel: Cancel = None,
    lock: threading.RLock | None = None,
    router: Router | None = None,
    fused: Callable[[], FusedDecoder] | None = None,
) -> Iterator[list[tuple[int, int]]]:
    """Yield, step by step, (row, token id) of every row that is still running.

    A row ends with a stop id, which is yielded, or after `sampling.max_new_tokens`. The iterator
    ends when all rows have ended or `cancel` is set. Where `fused` is given, it is asked for a
    decoder after the first token, and the rows take its faster steps.
    """
    job = DecodingJob(sampling, row_keys(seeds), stop_ids, cancel, lock or nullcontext())
    slots: SlotCache | None = None
    lora: RowLora | None = None
    try:
        with job.arithmetic(), stoppable(model, cancel):
            # The fused prefill shares beginnings as a tree, and a router must see whole rows.
            if fused is not None and router is None and is_worth_fusing(rows):
                logits, slots = read_rows(fused(), rows, cancel)
            elif router is None or router.decides:
                logits, cache, mask = prefill(model, rows, router)
            else:
                # Nothing is left to decide: the adapter is on, and beginnings can be shared.
                with router.decode():
                    logits, cache, mask = prefill(model, rows)
    except CancelledError:
        return
    seen = _pad_with_first(rows, model.device)
    if fused is not None:
        if slots is None:
            with job.arithmetic():
                lora, fits = _adapter_of(model, router)
                # Layer by layer, so that memory never holds the whole cache twice.
                slots = SlotCache.from_prefill(cache, mask) if fits else None
        if slots is not None:
            yield from decode_speculatively(fused, slots, logits, seen, job, lora)
            return
    state = _State(cache, mask, mask.sum(dim=1, keepdim=True), seen, torch.arange(len(rows)))
    yield from _library_steps(model, state, logits, job, router)


def _adapter_of(model: PreTrainedModel, router: Router | None) -> tuple[RowLora | None, bool]:
    """Return the open rows' adapter, if there are any, and whether fused weights can carry it."""
    if router is None or not bool(router.is_open.any()):
        return None, True
    lora = row_lora(router.lora, model, router.is_open)
    return lora, lora is not None


def _library_steps(
    model: PreTrainedModel,
    state: _State,
    logits: torch.Tensor,
    job: DecodingJob,
    router: Router | None,
) -> Iterator[list[tuple[int, int]]]:
    """Decode as `decode` does, by the library's own layers, from what the prefill left."""
    running = torch.ones(len(state.rows), dtype=torch.bool)
    for step in range(job.sampling.max_new_tokens):
        if job.is_cancelled:
            return
        with job.arithmetic():
            drawn = draw_tokens(logits, job.keys[state.rows], step, job.sampling, state.seen)
        ids = drawn.tolist()
        # Yield outside the lock: whoever reads this stream may be slow.
        yield [(int(r), t) for r, t, on in zip(state.rows, ids, running, strict=True) if on]
        running = running & torch.tensor([t not in job.stop_ids for t in ids])
        if not bool(running.any()) or step + 1 == job.sampling.max_new_tokens:
            return
        # The event may have been set while the reader had the turn; a step is too dear to waste.
        if job.is_cancelled:
            return
        with job.arithmetic():
            # Dropping rows copies the cache, so ended rows ride along until they are a fifth.
            if float(running.float().mean()) <= COMPACT_AT:
                index = running.nonzero().squeeze(1)
                state.keep(index)
                drawn, running = drawn[index], running[index]
                if router is not None:
                    router.select(index)
            logits = _step(model, state, drawn, router, job.sampling)


def _step(
    model: PreTrainedModel,
    state: _State,
    drawn: torch.Tensor,
    router: Router | None,
    sampling: Sampling,
) -> torch.Tensor:
    """Feed one token a row and return the next logits (B, V)."""
    state.mask = torch.cat([state.mask, state.mask.new_ones((len(drawn), 1))], dim=1)
    if sampling.repetition_penalty != 1.0:  # nothing else looks at what was seen
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


def _pad_with_first(rows: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Pad ids to (B, T) with each row's own first id, so that padding penalises nothing new."""
    width = max(len(r) for r in rows)
    return torch.tensor([[r[0]] * (width - len(r)) + list(r) for r in rows], device=device)
