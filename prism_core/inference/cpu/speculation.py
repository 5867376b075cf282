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

from collections.abc import Sequence

from prism_core.inference.rows import Row

_MOST_DRAFTS = 6
_READ_TOGETHER = 24
"""Tokens that an exact pass reads at little more than the cost of one."""
_DRAFT_COST = 0.25
"""A draft pass as a share of an exact one."""


class DraftLength:
    """How often drafts were right of late, and how many are worth making."""

    def __init__(self, rate: float = 0.9) -> None:
        self.rate = rate

    def note(self, right: int, wrong: int) -> None:
        """Learn how many drafts were right, and how many rows had a wrong one."""
        # A moving average over some fifty drafts: a text's own style shows soon, chance does not.
        weight = 0.98 ** (right + wrong)
        share = right / max(right + wrong, 1)
        self.rate = weight * self.rate + (1 - weight) * share

    def best(self, rows: Sequence[Row]) -> int:
        """Return how many drafts write the most tokens for the time."""
        # None past the longest answer of the row that has most to go, and none where so many rows
        # decode together that the exact pass would no longer be nearly free.
        room = max(row.sampling.max_new_tokens - len(row.answer) for row in rows) - 1
        most = min(_MOST_DRAFTS, room, _READ_TOGETHER // len(rows) - 1)

        def speed(k: int) -> float:
            # The exact token always counts, draft i only where all before it were right too.
            return sum(self.rate**i for i in range(k + 1)) / (1 + _DRAFT_COST * k)

        return max(range(max(most, 0) + 1), key=speed)
