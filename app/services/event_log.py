"""What happened, as one line of JSON each: for the operator, never with a question in it.

An event has a name and a few short values: who (a client's hash), which part, how long, why not.
Nothing that a visitor typed is written down, and no address. The file is cut by size; on a Space
the lines go to the log that the platform shows as well.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
import threading
from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prism_core.storage.folders import make_folder

MAX_BYTES = 5_000_000
PIECES = 3
"""How many older pieces stay beside the log."""
REMEMBERED = 100
"""Refusals that the operator's page lists."""
Value = str | int | float | bool


@dataclass(frozen=True)
class Refusal:
    """Something that was not done for a client."""

    at: datetime
    client: str
    what: str
    """The part that was asked: `queue`, `upload`, `run` ..."""
    why: str
    """The rule, in a word or two."""


class EventLog:
    """Writes events; remembers the last refusals. Safe to share among threads."""

    def __init__(self, folder: Path | None = None, *, echo: bool = False) -> None:
        """Write to `events.jsonl` in a folder, and with `echo` to standard error as well.

        Raises:
            StorageError: the folder cannot be made.
        """
        self._log = logging.Logger("prism-events")
        if folder is not None:
            path = make_folder(folder) / "events.jsonl"
            self._log.addHandler(
                logging.handlers.RotatingFileHandler(
                    path, maxBytes=MAX_BYTES, backupCount=PIECES, encoding="utf-8", delay=True
                )
            )
        if echo:
            self._log.addHandler(logging.StreamHandler(sys.stderr))
        self._refusals: deque[Refusal] = deque(maxlen=REMEMBERED)
        self._refused: Counter[str] = Counter()
        self._guard = threading.Lock()

    def note(self, event: str, **values: Value) -> None:
        """Write an event down."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._log.info(json.dumps({"at": now, "event": event, **values}, ensure_ascii=True))

    def refuse(self, client: str, what: str, why: str) -> None:
        """Write down that something was refused."""
        with self._guard:
            self._refusals.append(Refusal(datetime.now(UTC), client, what, why))
            self._refused[client] += 1
        self.note("refused", client=client, what=what, why=why)

    def refusals(self) -> list[Refusal]:
        """Return the last refusals, the latest first."""
        with self._guard:
            return list(reversed(self._refusals))

    def refused(self) -> Counter[str]:
        """Return how often each client was refused since the start."""
        with self._guard:
            return Counter(self._refused)
