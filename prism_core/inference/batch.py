"""What decodes rows: the interface of the library's layers and of the fast path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from prism_core.inference.rows import Row
from prism_core.progress import Cancel

Drawn = list[tuple[Row, list[int]]]
"""Rows and the tokens that one step gave each of them, at least one."""


class DecodingBatch(Protocol):
    """Rows that are decoded together, each with its own sampling, seed and adapter.

    A row that was told to finish (`row.finish`) leaves the batch by itself. After an error the
    batch is not used again: its rows know all that is needed to go on in another.
    """

    @property
    def rows(self) -> Sequence[Row]:
        """The rows that are being read or decoded."""

    @property
    def takes_more(self) -> bool:
        """Whether rows may be added now."""

    def add(self, rows: Sequence[Row], cancel: Cancel = None) -> None:
        """Take rows in; they are read by the next steps, which end early once `cancel` is set."""

    def step(self) -> Drawn:
        """Do one piece of work: read some tokens, and draw a token or more of each row.

        Raises:
            CancelledError: the rows being read were cancelled.
        """
