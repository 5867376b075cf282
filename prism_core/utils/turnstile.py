"""Who goes first on one machine: visitors of the app, before runs of its workers.

The app holds a lock file while it serves somebody. A worker looks at it between two steps, and
waits while it is held; but never for long at a stretch, so that a run goes on, at a fraction of its
speed, where visitors never cease. A process that dies lets go by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

FILE = "visitors.lock"
_LOOK_SECONDS = 0.05
_LONGEST_WAIT = 2.0
_TURN_SECONDS = 0.4
"""After the longest wait a worker goes on for so long."""


class Turnstile:
    """One app's visitors, as the app and its workers see them."""

    def __init__(self, home: Path) -> None:
        """Use the lock file in a folder that exists; it is made when somebody first comes."""
        self._lock = FileLock(home / FILE, thread_local=False)
        self._guard = threading.Lock()
        self._inside = 0
        self._turn_until = 0.0

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Hold back workers inside the block."""
        with self._guard:
            if self._inside == 0:
                self._lock.acquire()  # a worker that looks holds it for a moment
            self._inside += 1
        try:
            yield
        finally:
            with self._guard:
                self._inside -= 1
                if self._inside == 0:
                    self._lock.release()

    def give_way(self, cancel: threading.Event) -> None:
        """Wait while visitors are served, for some seconds at most, or until told to stop."""
        now = time.monotonic()
        if now < self._turn_until:
            return
        while self._is_held():
            if cancel.wait(_LOOK_SECONDS):
                return
            if time.monotonic() - now >= _LONGEST_WAIT:
                self._turn_until = time.monotonic() + _TURN_SECONDS
                return

    def _is_held(self) -> bool:
        try:
            with self._lock.acquire(blocking=False):
                return False
        except Timeout:
            return True
