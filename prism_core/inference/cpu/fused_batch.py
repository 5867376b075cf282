"""The fast path's batch: rows join and leave between steps (Orca, Yu et al. 2022).

1. Rows that arrive are read a pass at a time, and the others go on decoding in between. What they
   begin with is taken from the prefix cache; what several begin with is read first and goes there.
2. A linear map sees the tokens of all rows end to end; only attention lays them out row by row.
3. Every row takes its place in the slots behind the others; the last one fills a place left empty.
4. Where few rows decode, drafts are checked instead of single tokens (`speculation.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel

from prism_core.errors import CancelledError, ModelError
from prism_core.inference.batch import Drawn
from prism_core.inference.cpu.fused_llama import FusedDecoder
from prism_core.inference.cpu.fused_lora import FusedLora, fused_lora
from prism_core.inference.cpu.speculation import DraftLength
from prism_core.inference.drawing import draw_for
from prism_core.inference.prefix_cache import PrefixCache
from prism_core.inference.rows import Ids, Row
from prism_core.inference.shared_beginnings import beginnings_by_level
from prism_core.lora.weights import LoraWeights
from prism_core.progress import Cancel

_PASS_TOKENS = 512
"""Tokens that keep a processor busy; the others wait for a pass before their next token."""
_WORTH_SHARING = 32
"""Tokens that a beginning has to save: what a pass costs beside its tokens, in tokens."""


class FusedBatch:
    """A `DecodingBatch` by fused weights."""

    def __init__(
        self, model: PreTrainedModel, decoder: FusedDecoder, prefixes: PrefixCache | None
    ) -> None:
        self._model, self._decoder = model, decoder
        self._prefixes = prefixes if prefixes is not None else PrefixCache(0)
        self._cache = decoder.new_cache()
        self._decoding: list[Row] = []  # row i of the cache is number i
        self._arriving: list[Row] = []  # their places are behind those
        self._reading: Iterator[Drawn] | None = None
        self._drafts = DraftLength()

    @property
    def rows(self) -> Sequence[Row]:
        """The rows that are being read or decoded."""
        return [*self._decoding, *self._arriving]

    @property
    def takes_more(self) -> bool:
        """Whether nothing is being read."""
        return self._reading is None

    def add(self, rows: Sequence[Row], cancel: Cancel = None) -> None:
        """Take rows in."""
        self._arriving = list(rows)
        self._reading = self._read(list(rows), cancel)

    def step(self) -> Drawn:
        """Read one pass of those that arrive, and decode a step of the others."""
        drawn: Drawn = []
        is_first = not self._decoding
        if self._reading is not None:
            try:
                drawn = next(self._reading, [])
            except CancelledError:
                self._arriving = []
            if not self._arriving:
                self._reading = None
        self._leave()
        if not (drawn and is_first):  # nobody else waits: the first word is told at once
            drawn += self._decode()
            self._leave()
        return drawn

    def _read(self, rows: list[Row], cancel: Cancel) -> Iterator[Drawn]:
        """Read rows; yield after every pass the first tokens of those that it completed."""
        for level in self._levels(rows):
            for _ in self._fill([ids for _, ids in level], [a for a, _ in level], cancel):
                yield []
        ids, adapters = [row.ids for row in rows], [row.adapter for row in rows]
        for logits in self._fill(ids, adapters, cancel):
            begun = self._arriving[: len(logits)]
            self._arriving = self._arriving[len(logits) :]
            self._decoding += begun
            yield _taken(begun, draw_for(begun, logits)[:, None].tolist()) if begun else []

    def _levels(self, rows: Sequence[Row]) -> list[list[tuple[LoraWeights | None, Ids]]]:
        """Return what several rows of one adapter begin with, shorter beginnings before longer."""
        found: list[list[tuple[LoraWeights | None, Ids]]] = []
        groups: dict[LoraWeights | None, list[list[int]]] = {}
        for row in rows:
            groups.setdefault(row.adapter, []).append(row.ids)
        for adapter, members in groups.items():
            for number, level in enumerate(beginnings_by_level(members, _WORTH_SHARING)):
                new = [
                    (adapter, ids)
                    for ids in level
                    if len(ids) - self._prefixes.known(adapter, ids) >= _WORTH_SHARING
                ]
                if number == len(found):
                    found.append([])
                found[number] += new
        return [level for level in found if level]

    def _fill(
        self, rows: Sequence[Ids], adapters: Sequence[LoraWeights | None], cancel: Cancel
    ) -> Iterator[torch.Tensor]:
        """Read token rows into the places behind those that decode, a pass at a time.

        Yields:
            Logits (N, V) of the rows, in their order, that the pass completed.
        """
        first = len(self._decoding)
        known = []
        for i, (ids, adapter) in enumerate(zip(rows, adapters, strict=True)):
            # The last token is always read: its logits are asked for.
            states = self._prefixes.find(adapter, ids[:-1])
            known.append(0 if states is None else states.shape[2])
            if states is not None:
                self._cache.make_room(first + len(rows), len(ids))
                self._cache.put(first + i, states)
        fused = [self._fused(adapter) for adapter in adapters]
        for places in _passes(known, [len(ids) for ids in rows]):
            begin, end = places[0][0], places[-1][0] + 1
            logits = self._decoder.read(
                self._cache,
                first + begin,
                [rows[i][start:stop] for i, start, stop in places],
                [start for _, start, _ in places],
                fused[begin:end],
                cancel,
            )
            whole = [stop == len(rows[i]) for i, _, stop in places]
            for (i, _, stop), is_whole in zip(places, whole, strict=True):
                if is_whole:
                    self._keep(first + i, adapters[i], rows[i][:stop])
            yield logits[torch.tensor(whole)]

    def _decode(self) -> Drawn:
        """Draw the next tokens of all rows that decode."""
        rows = self._decoding
        if not any(row.is_running for row in rows):
            return []
        lengths = torch.tensor([len(row.prompt) + len(row.answer) - 1 for row in rows])
        last = torch.tensor([row.answer[-1:] or row.prompt[-1:] for row in rows])
        adapters = [self._fused(row.adapter) for row in rows]
        count = self._drafts.best(rows) if self._decoder.draft is not None else 0
        drafts = last[:, :0]
        for ahead in range(count):
            token = last if ahead == 0 else drafts[:, -1:]
            logits = self._decoder.step(self._cache, token, lengths + ahead, adapters, draft=True)[
                :, -1
            ]
            # Drawn with the noise of the place itself, so that equal logits give equal tokens.
            new = draw_for(rows, logits, drafts.tolist())
            drafts = torch.cat([drafts, new[:, None]], dim=1)
        # The exact keys and values overwrite those that the drafts left in the same slots.
        ids = torch.cat([last, drafts], dim=1)
        logits = self._decoder.step(self._cache, ids, lengths, adapters)
        drawn = _draw_places(rows, logits, drafts.tolist())
        # A draft behind a wrong one was drawn from another text: it counts for nothing.
        right = (drawn[:, :-1] == drafts).cumprod(dim=1).sum(dim=1).tolist()
        if count:
            # Drafts after a row's first wrong one say nothing of how good the drafts are.
            self._drafts.note(sum(right), sum(r < count for r in right))
        return _taken(rows, [line[: r + 1] for line, r in zip(drawn.tolist(), right, strict=True)])

    def _leave(self) -> None:
        """Let the rows that have ended go, and keep what they read.

        Not while others arrive: their places are fixed.
        """
        at = 0 if self._reading is None else len(self._decoding)
        while at < len(self._decoding):
            row = self._decoding[at]
            if row.is_running:
                at += 1
                continue
            if row.finish != "cancelled":
                self._keep(at, row.adapter, row.ids[:-1])
            last = self._decoding.pop()
            if last is not row:
                self._decoding[at] = last
                length = len(last.prompt) + len(last.answer)
                self._cache.move(len(self._decoding), at, length)
        if not self._decoding and not self._arriving:
            self._cache = self._decoder.new_cache()

    def _keep(self, place: int, adapter: LoraWeights | None, ids: Ids) -> None:
        self._prefixes.add(adapter, ids, lambda start, stop: self._cache.cut(place, start, stop))

    def _fused(self, adapter: LoraWeights | None) -> FusedLora | None:
        fused = fused_lora(adapter, self._model) if adapter is not None else None
        if fused is None and adapter is not None:
            raise ModelError("an adapter changes more than the decoder's layers")
        return fused


def _taken(rows: Sequence[Row], tokens: Sequence[Ids]) -> Drawn:
    """Give the rows their tokens; return those that count."""
    pairs = [(row, row.take(line)) for row, line in zip(rows, tokens, strict=True)]
    return [(row, line) for row, line in pairs if line]


def _draw_places(
    rows: Sequence[Row], logits: torch.Tensor, drafts: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Draw the token at every place (B, S) from logits (B, S, V), as if all drafts were right."""
    places = logits.shape[1]
    if places == 1:
        return draw_for(rows, logits[:, 0])[:, None]
    repeated = [row for row in rows for _ in range(places)]
    ahead = [line[:place] for line in drafts for place in range(places)]
    return draw_for(repeated, logits.flatten(0, 1), ahead).view(len(rows), places)


def _passes(known: Sequence[int], lengths: Sequence[int]) -> Iterator[list[tuple[int, int, int]]]:
    """Yield passes of (row, start, stop) over neighbouring rows; a long row takes several."""
    chosen: list[tuple[int, int, int]] = []
    room = _PASS_TOKENS
    for i, (start, length) in enumerate(zip(known, lengths, strict=True)):
        while start < length:
            if chosen and length - start > room:
                yield chosen
                chosen, room = [], _PASS_TOKENS
            stop = min(length, start + room)
            chosen.append((i, start, stop))
            room -= stop - start
            if stop < length:
                yield chosen
                chosen, room = [], _PASS_TOKENS
            start = stop
    if chosen:
        yield chosen
