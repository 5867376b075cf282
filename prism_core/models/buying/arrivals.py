"""Many tasks at once, whose results are handed on in the order in which they arrive.

What came within a moment is handed on together, so that it can be committed together. Where one
task fails, no other is begun, those under way may still end, since they are being paid, and only
then the failure is raised.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from prism_core.errors import CancelledError
from prism_core.progress import Cancel

T = TypeVar("T")
Task = Callable[[Callable[[T], None]], None]
"""Does its work and hands each result to its argument as soon as it is there."""

GATHER = 0.02
"""Seconds in which results are gathered; a part of the 50 ms within which they are on the disk."""
_LOOK = 0.1
"""Seconds between two looks at the cancel event."""


def as_they_arrive(
    tasks: Sequence[Task[T]], workers: int, cancel: Cancel = None
) -> Iterator[list[T]]:
    """Yield the results that arrived since the last yield; an empty list where nothing did.

    Raises:
        CancelledError: `cancel` was set; what arrived before it was yielded.
        Exception: what the first task that failed raised.
    """
    waiting: queue.SimpleQueue[Task[T]] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    arrived: queue.SimpleQueue[T] = queue.SimpleQueue()
    crowd = _Crowd(waiting, arrived)
    threads = [
        threading.Thread(target=crowd.work, daemon=True, name="prism-buying")
        for _ in range(min(workers, len(tasks)))
    ]
    for thread in threads:
        thread.start()
    try:
        while True:
            ended = not any(thread.is_alive() for thread in threads)
            found = _gather(arrived, 0.0 if ended else _LOOK)
            if found or not ended:
                yield found
            if cancel is not None and cancel.is_set():
                raise CancelledError("stopped on request")
            if ended:
                break
    finally:
        crowd.stop.set()
    if crowd.errors:
        raise crowd.errors[0]


class _Crowd(Generic[T]):
    """What the threads of one call share."""

    def __init__(self, waiting: queue.SimpleQueue[Task[T]], arrived: queue.SimpleQueue[T]) -> None:
        self._waiting, self._arrived = waiting, arrived
        self.stop = threading.Event()
        self.errors: list[Exception] = []

    def work(self) -> None:
        """Do one task after another until there is none, or one has failed."""
        while not self.stop.is_set():
            try:
                task = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                task(self._arrived.put)
            except Exception as error:  # not swallowed: raised where the results are waited for
                self.errors.append(error)
                self.stop.set()


def _gather(arrived: queue.SimpleQueue[T], patience: float) -> list[T]:
    """Wait for a result, then take all that come within a moment."""
    try:
        found = [arrived.get(timeout=patience) if patience else arrived.get_nowait()]
    except queue.Empty:
        return []
    until = time.monotonic() + GATHER
    while True:
        try:
            found.append(arrived.get(timeout=max(0.0, until - time.monotonic())))
        except queue.Empty:
            return found
