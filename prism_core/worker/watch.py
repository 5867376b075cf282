"""The watch beside a running handler: progress, heartbeat, cancel, and a parent that died.

One thread wakes four times a second. It alone writes progress, so the handler never waits for the
store. After a cancel the handler has a moment to stop by itself; a handler deep inside one long
tensor operation cannot, so then the run is marked and the whole process ends. Finished parts are
in the journal, and whoever supervises workers starts a new one.
"""

from __future__ import annotations

import logging
import os
import threading
import time

import psutil

from prism_core.errors import StorageError
from prism_core.progress import Progress, ProgressReport
from prism_core.storage import RunStatus, Store
from prism_core.utils.turnstile import Turnstile

TICK_SECONDS = 0.25
"""Progress is written, and a cancel seen, this often."""
HEARTBEAT_SECONDS = 2.0
"""The longest time between two signs of life; `storage.liveness.STALE_SECONDS` is far longer."""
GRACE_SECONDS = 1.4
"""How long a handler may go on after a cancel. With a tick before it, still under two seconds."""
EXIT_CANCELLED = 75
"""Exit code of a worker that ended itself to stop its handler."""
EXIT_ORPHANED = 76
"""Exit code of a worker whose parent died."""

_log = logging.getLogger(__name__)


def is_orphaned(parent_pid: int | None) -> bool:
    """Whether the given parent has died, so that this process now has another."""
    return parent_pid is not None and os.getppid() != parent_pid


class RunWatch:
    """Watches one run while its handler is at work; a context manager."""

    def __init__(self, run_id: str, store: Store, worker_id: str, parent_pid: int | None) -> None:
        self.progress = Progress(self._listen, courtesy=Turnstile(store.home).give_way)
        """What the handler reports to, and whose `cancel` event it obeys."""
        self._run_id, self._store, self._worker_id = run_id, store, worker_id
        self._parent_pid = parent_pid
        self._latest: ProgressReport | None = None
        self._written: ProgressReport | None = None
        self._beat = time.monotonic()
        self._stop_by: float | None = None
        self._is_lost = False
        self._ended = threading.Event()
        # Whoever holds it decides how the run ends: the handler's result or the watch.
        self._ending = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="run-watch", daemon=True)

    def __enter__(self) -> RunWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._ending:
            self._ended.set()
        self._thread.join()

    def end(self, status: RunStatus, message: str) -> None:
        """Write the last progress and how the run ended."""
        with self._ending:
            self._ended.set()
            try:
                if self._latest is not self._written:
                    self._store.heartbeat(self._run_id, self._worker_id, self._latest)
                self._store.finish(self._run_id, status, message, self._worker_id)
            except StorageError:
                # Without a heartbeat another worker takes the run and finds all of it journaled.
                _log.exception("The end of run %s could not be written", self._run_id)

    def _listen(self, report: ProgressReport) -> None:
        self._latest = report

    def _watch(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            if is_orphaned(self._parent_pid):
                self._leave(EXIT_ORPHANED)
            try:
                self._tick()
            except StorageError:
                _log.exception("The store does not answer; trying again")
            if self._stop_by is not None and time.monotonic() >= self._stop_by:
                self._leave(EXIT_CANCELLED)

    def _tick(self) -> None:
        """Write what is new, and find out whether to stop."""
        report = self._latest if self._latest is not self._written else None
        now = time.monotonic()
        if report is None and now - self._beat < HEARTBEAT_SECONDS:
            stop = self._store.is_cancel_requested(self._run_id)
        else:
            status = self._store.heartbeat(self._run_id, self._worker_id, report)
            self._written, self._beat = report or self._written, now
            # No status: another worker has the run, so this one must let go of it.
            self._is_lost = status is None
            stop = status != "running"
        if stop and self._stop_by is None:
            self.progress.cancel.set()
            self._stop_by = now + GRACE_SECONDS

    def _leave(self, code: int) -> None:
        """End this process and its children at once, unless the handler has just ended."""
        with self._ending:
            if self._ended.is_set():
                return
            try:
                if code == EXIT_ORPHANED:
                    self._store.release(os.getpid())
                elif not self._is_lost:
                    self._store.finish(self._run_id, "cancelled", "", self._worker_id)
            except StorageError:
                _log.exception("The end of run %s could not be written", self._run_id)
            for child in psutil.Process().children(recursive=True):
                try:
                    child.kill()
                except psutil.NoSuchProcess:
                    continue
            logging.shutdown()
            os._exit(code)
