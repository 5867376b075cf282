"""How long work reports what it has done, and learns that it should stop.

A `Progress` is handed down to every stage. It carries the cancel event that decoding loops read at
every token, and passes reports on to whoever listens: a store, a terminal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from prism_core.errors import CancelledError

Cancel = threading.Event | None
"""Stops the work soon after it is set; None lets it run to its end."""


@dataclass(frozen=True)
class ProgressReport:
    """One moment of a piece of long work."""

    stage: str
    done: float
    """Units finished in this stage."""
    total: float
    note: str
    """What is being done, in a few words."""
    seconds_left: float | None
    """Estimate for this stage from its speed so far; None until it has one."""


class Progress:
    """Carries reports upwards and the wish to stop downwards."""

    def __init__(
        self,
        listener: Callable[[ProgressReport], None] | None = None,
        cancel: Cancel = None,
        courtesy: Callable[[threading.Event], None] | None = None,
    ) -> None:
        """Start.

        Args:
            listener: told of every report.
            cancel: set by whoever wants the work to stop.
            courtesy: called between two steps of the work with `cancel`; may wait for others.
        """
        self.cancel = cancel or threading.Event()
        self._listener, self._courtesy = listener, courtesy
        self._stage = ""
        self._started = 0.0
        self._start_done = 0.0

    def update(self, stage: str, done: float, total: float, note: str = "") -> None:
        """Report; a new stage name restarts the clock of the estimate."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._start_done = stage, now, done
        gained = done - self._start_done
        left = (now - self._started) / gained * (total - done) if gained > 0 else None
        if self._listener is not None:
            self._listener(ProgressReport(stage, done, total, note, left))

    def give_way(self) -> None:
        """Let others go first."""
        if self._courtesy is not None:
            self._courtesy(self.cancel)

    def check(self) -> None:
        """Let others go first, and stop here if asked to.

        Raises:
            CancelledError: somebody set the cancel event.
        """
        self.give_way()
        if self.cancel.is_set():
            raise CancelledError("stopped on request")
