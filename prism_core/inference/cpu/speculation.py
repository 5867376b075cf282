"""Decoding a few tokens a pass: a coarse copy of the model guesses, the model itself decides.

1. The coarse weights (4 bits) draw the next few tokens of each row, one after another, cheaply.
2. One exact pass reads the guesses of all rows; it costs little more than a pass for one token.
3. Each place's token is drawn from the exact logits. What a row draws is fixed by its seed and the
   place (`prism_core/sampling.py`), so a guess is either that very token or wrong: guesses count up
   to the first wrong one, and the token drawn there is right as well.
The text is the one that decoding token by token gives, up to rounding; only the time differs.
Departure from Leviathan et al. (2023): no rejection sampling is needed, and guesses share the
model's own key-value cache, whose guessed entries the exact pass overwrites.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from prism_core.inference.cpu.fused_llama import LeanDecoder
from prism_core.inference.cpu.fused_lora import RowLora
from prism_core.inference.cpu.slot_cache import SlotCache
from prism_core.inference.sampling import draw_tokens
from prism_core.types import Sampling

_MOST_DRAFTS = 6
_READ_TOGETHER = 24
"""Tokens that an exact pass reads at little more than the cost of one."""
_DRAFT_COST = 0.25
"""A coarse pass as a share of an exact one."""
_COMPACT_AT = 0.8

Tokens = list[tuple[int, int]]
"""(row in the caller's batch, token id), at most one a row."""


@dataclass
class _Rows:
    """What is known of the rows that are still being decoded."""

    cache: SlotCache
    keys: torch.Tensor  # (B,), the rows' random keys
    seen: torch.Tensor  # (B, T), ids so far, padded with the row's own first id
    last: torch.Tensor  # (B,), the token drawn last, which the cache does not hold yet
    count: torch.Tensor  # (B,), tokens drawn so far
    names: list[int]  # index of each row in the caller's batch
    running: list[bool]
    lora: RowLora | None  # the adapter, where some rows use it

    def compact(self) -> None:
        """Drop the rows that have ended, once they are many enough."""
        if sum(self.running) > _COMPACT_AT * len(self.running):
            return
        kept = [i for i, on in enumerate(self.running) if on]
        index = torch.tensor(kept)
        self.cache.keep(index)
        self.lora = self.lora.keep(index) if self.lora else None
        self.keys, self.seen = self.keys[index], self.seen[index]
        self.last, self.count = self.last[index], self.count[index]
        self.names = [self.names[i] for i in kept]
        self.running = [True] * len(kept)


class _DraftLength:
    """How often guesses were right of late, and how many are worth making."""

    def __init__(self, rate: float = 0.9) -> None:
        self.rate = rate

    def note(self, right: int, wrong: int) -> None:
        weight = 0.98 ** (right + wrong)
        share = right / max(right + wrong, 1)
        self.rate = weight * self.rate + (1 - weight) * share

    def drafts(self, most: int) -> int:
        """The number of guesses with the most tokens for the time."""

        def speed(k: int) -> float:
            return sum(self.rate**i for i in range(k + 1)) / (1 + _DRAFT_COST * k)

        return max(range(most + 1), key=speed)


def decode_lean(
    lean: Callable[[], LeanDecoder],
    cache: SlotCache,
    logits: torch.Tensor,
    sampling: Sampling,
    keys: torch.Tensor,
    seen: torch.Tensor,
    stop_ids: frozenset[int],
    cancel: threading.Event | None,
    guard: AbstractContextManager[object],
    lora: RowLora | None = None,
) -> Iterator[Tokens]:
    """Yield, token by token, (row, id) of every row that is still running.

    Args:
        lean: gives the model's packed weights; called after the first token.
        cache: what the prefill left.
        logits: the prefill's last ones, (B, V).
        sampling: how to draw; a row ends after `max_new_tokens`.
        keys: the rows' random keys, (B,).
        seen: ids of the prompts, (B, T), padded with each row's own first id.
        stop_ids: ids that end a row; they are yielded.
        cancel: ends the iterator; read at every token.
        guard: held during the arithmetic.
        lora: the adapter and the rows that use it, if any do.
    """
    none = torch.zeros(len(keys), dtype=torch.long)
    with guard, torch.inference_mode():
        first = draw_tokens(logits, keys, 0, sampling, seen)
    names, running = list(range(len(keys))), [True] * len(keys)
    rows = _Rows(cache, keys, seen, first, none, names, running, lora)
    decoder: LeanDecoder | None = None
    luck = _DraftLength()
    drawn, good = first[:, None], [0] * len(keys)
    while True:
        yield from _taken(rows, drawn, good, sampling.max_new_tokens, stop_ids, cancel)
        if not any(rows.running) or (cancel is not None and cancel.is_set()):
            return
        with guard, torch.inference_mode():
            _absorb(rows, drawn, good, sampling)
            rows.compact()
            decoder = decoder or lean()
            drafts = _guess(decoder, rows, luck, sampling, cancel)
            if drafts is None:
                return
            drawn = _check(decoder, rows, drafts, sampling)
            right = (drawn[:, :-1] == drafts).cumprod(dim=1)
            good = right.sum(dim=1).tolist()
        if drafts.shape[1]:
            right_ones = sum(good)
            wrong = sum(g < drafts.shape[1] for g in good)
            luck.note(right_ones, wrong)


def _taken(
    rows: _Rows,
    drawn: torch.Tensor,
    good: list[int],
    most: int,
    stop_ids: frozenset[int],
    cancel: threading.Event | None,
) -> Iterator[Tokens]:
    """The tokens (B, S) that count, place by place: the first `good + 1` of each running row."""
    table, counts = drawn.tolist(), rows.count.tolist()
    for place in range(max(good) + 1):
        if place and cancel is not None and cancel.is_set():
            return
        step: Tokens = []
        for i, line in enumerate(table):
            if rows.running[i] and place <= good[i]:
                step.append((rows.names[i], line[place]))
                ends = line[place] in stop_ids or counts[i] + place + 1 >= most
                rows.running[i] = not ends
        if not step:
            return
        yield step


def _absorb(rows: _Rows, drawn: torch.Tensor, good: list[int], sampling: Sampling) -> None:
    """Take the tokens (B, S) that count into the rows' state."""
    taken = torch.tensor(good)[:, None]
    is_first_draw = not bool(rows.count.any())
    if not is_first_draw:
        rows.cache.used = rows.cache.used + taken[:, 0] + 1
    rows.count = rows.count + taken[:, 0] + 1
    rows.last = drawn.gather(1, taken)[:, 0]
    if sampling.repetition_penalty != 1.0:
        counts = torch.arange(drawn.shape[1]) <= taken
        rows.seen = torch.cat([rows.seen, torch.where(counts, drawn, rows.seen[:, :1])], dim=1)


def _guess(
    lean: LeanDecoder,
    rows: _Rows,
    luck: _DraftLength,
    sampling: Sampling,
    cancel: threading.Event | None,
) -> torch.Tensor | None:
    """The coarse weights' next tokens, (B, K); None when told to stop."""
    room = sampling.max_new_tokens - int(rows.count.min()) - 1
    most = min(_MOST_DRAFTS, room, _READ_TOGETHER // len(rows.names) - 1)
    count = luck.drafts(most) if lean.coarse is not None and most > 0 else 0
    drafts = rows.last[:, None][:, :0]
    seen, token = rows.seen, rows.last
    for ahead in range(count):
        if cancel is not None and cancel.is_set():
            return None
        logits = lean.step(rows.cache, token[:, None], ahead, coarse=True, lora=rows.lora)[:, -1]
        token = draw_tokens(logits, rows.keys, rows.count + ahead, sampling, seen)
        drafts = torch.cat([drafts, token[:, None]], dim=1)
        seen = torch.cat([seen, token[:, None]], dim=1)
    return drafts


def _check(
    lean: LeanDecoder, rows: _Rows, drafts: torch.Tensor, sampling: Sampling
) -> torch.Tensor:
    """The exact token at every place, (B, K + 1), as if all guesses before it were right."""
    count, places = drafts.shape[0], drafts.shape[1] + 1
    ids = torch.cat([rows.last[:, None], drafts], dim=1)
    logits = lean.step(rows.cache, ids, lora=rows.lora)
    before = torch.arange(places)
    # A place has seen the guesses before it; the others are padded with the row's first id.
    earlier = torch.where(before[:-1] < before[:, None], drafts[:, None], rows.seen[:, :1, None])
    seen = torch.cat([rows.seen[:, None].expand(-1, places, -1), earlier], dim=2)
    steps = rows.count[:, None] + before
    drawn = draw_tokens(
        logits.reshape(count * places, -1),
        rows.keys.repeat_interleave(places),
        steps.reshape(-1),
        sampling,
        seen.reshape(count * places, -1),
    )
    return drawn.view(count, places)
