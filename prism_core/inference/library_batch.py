"""The batch that transformers' own layers decode, for every architecture and device.

Rows cannot join while others decode: those that wait form the next batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache, PreTrainedModel

from prism_core.errors import CancelledError
from prism_core.inference.batch import Drawn
from prism_core.inference.drawing import draw_for
from prism_core.inference.prefill import active_adapters, prefill
from prism_core.inference.prefix_cache import PrefixCache
from prism_core.inference.rows import Row
from prism_core.inference.stopping import stoppable
from prism_core.progress import Cancel

_COMPACT_AT = 0.8
"""Share of running rows at which those that have ended are dropped: dropping copies the cache."""


class LibraryBatch:
    """A `DecodingBatch` by the library's layers."""

    def __init__(self, model: PreTrainedModel, prefixes: PrefixCache | None = None) -> None:
        self._model, self._prefixes = model, prefixes
        self._rows: list[Row] = []
        self._cancel: Cancel = None
        self._cache: DynamicCache | None = None
        self._last = torch.empty(0)  # (B, 1), the tokens drawn last, not in the cache yet
        self._mask = torch.empty(0)  # (B, T), 1 where the cache holds a real token
        self._positions = torch.empty(0)  # (B, 1), the position of each row's next token

    @property
    def rows(self) -> Sequence[Row]:
        """The rows that are being read or decoded."""
        return self._rows

    @property
    def takes_more(self) -> bool:
        """Whether the batch is empty."""
        return not self._rows

    def add(self, rows: Sequence[Row], cancel: Cancel = None) -> None:
        """Take rows in."""
        self._rows, self._cancel, self._cache = list(rows), cancel, None

    def step(self) -> Drawn:
        """Read all rows, or draw the next token of each."""
        if not self._rows:
            return []
        try:
            logits = self._read() if self._cache is None else self._next(self._cache)
        except CancelledError:
            self._rows, self._cache = [], None
            return []
        tokens = draw_for(self._rows, logits).tolist()
        pairs = [(row, row.take([t])) for row, t in zip(self._rows, tokens, strict=True)]
        self._last = torch.tensor(tokens, device=self._model.device)[:, None]
        self._leave()
        return [(row, line) for row, line in pairs if line]

    def _read(self) -> torch.Tensor:
        rows, adapters = [r.ids for r in self._rows], [r.adapter for r in self._rows]
        with stoppable(self._model, self._cancel):
            logits, self._cache, self._mask = prefill(self._model, rows, adapters, self._prefixes)
        self._positions = self._mask.sum(dim=1, keepdim=True)
        return logits

    def _next(self, cache: DynamicCache) -> torch.Tensor:
        self._mask = torch.cat([self._mask, self._mask.new_ones((len(self._rows), 1))], dim=1)
        with active_adapters(self._model, [row.adapter for row in self._rows]):
            out = self._model(
                input_ids=self._last,
                attention_mask=self._mask,
                position_ids=self._positions,
                past_key_values=cache,
                use_cache=True,
            )
        self._positions = self._positions + 1
        logits: torch.Tensor = out.logits[:, -1]
        return logits

    def _leave(self) -> None:
        """Drop the rows that have ended, once they are many enough to be worth the copying."""
        kept = [i for i, row in enumerate(self._rows) if row.is_running]
        if not kept:
            self._rows, self._cache = [], None
        elif self._cache is not None and len(kept) <= _COMPACT_AT * len(self._rows):
            index = torch.tensor(kept, device=self._model.device)
            self._cache.batch_select_indices(index)
            self._rows = [self._rows[i] for i in kept]
            self._mask, self._positions = self._mask[index], self._positions[index]
            self._last = self._last[index]
