"""Speculative decoding: a rounded copy of the model drafts tokens, the model itself decides.

1. The draft weights (4 bits) draw the next few tokens of each row, one after another, cheaply.
2. One exact pass reads the drafts of all rows; it costs little more than a pass for one token.
3. Each place's token is drawn from the exact logits. What a row draws is fixed by its seed and the
   place (`inference/sampling.py`), so a draft is either that very token or wrong: drafts count up
   to the first wrong one, and the token drawn there is right as well.
The text is the one that decoding token by token gives, up to rounding; only the time differs.
Departure from Leviathan et al. (2023): no rejection sampling is needed, and drafts share the
model's own key-value cache, whose drafted entries the exact pass overwrites.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from prism_core.inference.cpu.fused_llama import FusedDecoder
from prism_core.inference.cpu.fused_lora import RowLora
from prism_core.inference.cpu.slot_cache import SlotCache
from prism_core.inference.sampling import draw_tokens
from prism_core.inference.stopping import DecodingJob

COMPACT_AT = 0.8
"""Share of running rows at which those that have ended are dropped."""
_MOST_DRAFTS = 6
_READ_TOGETHER = 24
"""Tokens that an exact pass reads at little more than the cost of one."""
_DRAFT_COST = 0.25
"""A draft pass as a share of an exact one."""

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
        """Drop the rows that have ended, once they are many enough to be worth the copying."""
        if sum(self.running) > COMPACT_AT * len(self.running):
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
    """How often drafts were right of late, and how many are worth making."""

    def __init__(self, rate: float = 0.9) -> None:
        self.rate = rate

    def note(self, right: int, wrong: int) -> None:
        # A moving average over some fifty drafts: a text's own style shows soon, chance does not.
        weight = 0.98 ** (right + wrong)
        share = right / max(right + wrong, 1)
        self.rate = weight * self.rate + (1 - weight) * share

    def best(self, most: int) -> int:
        """Return the number of drafts that writes the most tokens for the time."""

        def speed(k: int) -> float:
            # The exact token always counts, draft i only where all before it were right too.
            return sum(self.rate**i for i in range(k + 1)) / (1 + _DRAFT_COST * k)

        return max(range(most + 1), key=speed)


def decode_speculatively(
    fused: Callable[[], FusedDecoder],
    cache: SlotCache,
    logits: torch.Tensor,
    seen: torch.Tensor,
    job: DecodingJob,
    lora: RowLora | None = None,
) -> Iterator[Tokens]:
    """Yield, token by token, (row, id) of every row that is still running.

    `fused` gives the decoder and is called after the first token. Cache and logits (B, V) are what
    the prefill left; `seen` (B, T) holds the prompts' ids, padded with each row's own first id.
    """
    none = torch.zeros(len(job.keys), dtype=torch.long)
    with job.arithmetic():
        first = draw_tokens(logits, job.keys, 0, job.sampling, seen)
    names, running = list(range(len(job.keys))), [True] * len(job.keys)
    rows = _Rows(cache, job.keys, seen, first, none, names, running, lora)
    decoder: FusedDecoder | None = None
    length = _DraftLength()
    drawn, right = first[:, None], [0] * len(job.keys)
    while True:
        yield from _taken(rows, drawn, right, job)
        if not any(rows.running) or job.is_cancelled:
            return
        with job.arithmetic():
            _absorb(rows, drawn, right, job)
            rows.compact()
            # Only now: fusing weights takes seconds, and the first token need not wait for it.
            decoder = decoder or fused()
            drafts = _guess(decoder, rows, length, job)
            if drafts is None:
                return
            drawn = _check(decoder, rows, drafts, job)
            # A draft behind a wrong one was drawn from another text: it counts for nothing.
            right = (drawn[:, :-1] == drafts).cumprod(dim=1).sum(dim=1).tolist()
        if drafts.shape[1]:
            # Drafts after a row's first wrong one say nothing of how good the drafts are.
            length.note(sum(right), sum(r < drafts.shape[1] for r in right))


def _taken(
    rows: _Rows, drawn: torch.Tensor, right: list[int], job: DecodingJob
) -> Iterator[Tokens]:
    """Yield the tokens (B, S) that count, place by place: the first `right + 1` of each row."""
    table, counts = drawn.tolist(), rows.count.tolist()
    for place in range(max(right) + 1):
        # Tokens already drawn are held back after a stop, so that it is obeyed to the token.
        if place and job.is_cancelled:
            return
        step: Tokens = []
        for i, line in enumerate(table):
            if rows.running[i] and place <= right[i]:
                step.append((rows.names[i], line[place]))
                is_full = counts[i] + place + 1 >= job.sampling.max_new_tokens
                rows.running[i] = not (line[place] in job.stop_ids or is_full)
        if not step:
            return
        yield step


def _absorb(rows: _Rows, drawn: torch.Tensor, right: list[int], job: DecodingJob) -> None:
    """Take the tokens (B, S) that count into the rows' state."""
    taken = torch.tensor(right)[:, None]
    # The first draw follows from the prefill, which has filled the cache already.
    if bool(rows.count.any()):
        rows.cache.used = rows.cache.used + taken[:, 0] + 1
    rows.count = rows.count + taken[:, 0] + 1
    rows.last = drawn.gather(1, taken)[:, 0]
    if job.sampling.repetition_penalty != 1.0:
        counts = torch.arange(drawn.shape[1]) <= taken
        # A row's first id stands for nothing: it is in `seen` already.
        rows.seen = torch.cat([rows.seen, torch.where(counts, drawn, rows.seen[:, :1])], dim=1)


def _guess(
    decoder: FusedDecoder, rows: _Rows, length: _DraftLength, job: DecodingJob
) -> torch.Tensor | None:
    """Draw the draft weights' next tokens, (B, K); None when told to stop."""
    # No drafts past the longest answer of the row that has most to go, and none where so many
    # rows decode together that the exact pass would no longer be nearly free.
    room = job.sampling.max_new_tokens - int(rows.count.min()) - 1
    most = min(_MOST_DRAFTS, room, _READ_TOGETHER // len(rows.names) - 1)
    count = length.best(most) if decoder.draft is not None and most > 0 else 0
    drafts = rows.last[:, None][:, :0]
    seen, token = rows.seen, rows.last
    for ahead in range(count):
        if job.is_cancelled:
            return None
        logits = decoder.step(rows.cache, token[:, None], ahead, draft=True, lora=rows.lora)[:, -1]
        # Drawn with the noise of the place itself, so that equal logits give equal tokens.
        token = draw_tokens(logits, rows.keys, rows.count + ahead, job.sampling, seen)
        drafts = torch.cat([drafts, token[:, None]], dim=1)
        seen = torch.cat([seen, token[:, None]], dim=1)
    return drafts


def _check(
    decoder: FusedDecoder, rows: _Rows, drafts: torch.Tensor, job: DecodingJob
) -> torch.Tensor:
    """Draw the exact token at every place, (B, K + 1), as if all drafts before it were right."""
    count, places = drafts.shape[0], drafts.shape[1] + 1
    ids = torch.cat([rows.last[:, None], drafts], dim=1)
    # The exact keys and values overwrite those that the drafts left in the same slots.
    logits = decoder.step(rows.cache, ids, lora=rows.lora)
    before = torch.arange(places)
    # A place has seen the drafts before it; the others are padded with the row's first id.
    earlier = torch.where(before[:-1] < before[:, None], drafts[:, None], rows.seen[:, :1, None])
    seen = torch.cat([rows.seen[:, None].expand(-1, places, -1), earlier], dim=2)
    steps = rows.count[:, None] + before
    drawn = draw_tokens(
        logits.reshape(count * places, -1),
        rows.keys.repeat_interleave(places),
        steps.reshape(-1),
        job.sampling,
        seen.reshape(count * places, -1),
    )
    return drawn.view(count, places)
