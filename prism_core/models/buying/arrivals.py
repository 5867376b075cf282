"""Many tasks at once, whose results are handed on in the order in which they arrive.

What came within a moment is handed on together, so that it can be committed together. A thread goes
on only when its result has been taken, that is committed: so a kill loses at most what as many
requests as there are threads were about to bring. Where one task fails, no other is begun, those
under way may still end, since they are being paid, and only then the failure is raised.
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

GATHER = 0.01
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
    crowd = _Crowd(tasks)
    threads = [
        threading.Thread(target=crowd.work, daemon=True, name="prism-buying")
        for _ in range(min(workers, len(tasks)))
    ]
    for thread in threads:
        thread.start()
    try:
        while True:
            ended = not any(thread.is_alive() for thread in threads)
            found = crowd.gather(0.0 if ended else _LOOK)
            if found or not ended:
                yield [result for result, _ in found]
            for _, taken in found:
                taken.set()
            if cancel is not None and cancel.is_set():
                raise CancelledError("stopped on request")
            if ended:
                break
    finally:
        crowd.leave()
    if crowd.errors:
        raise crowd.errors[0]


class _Crowd(Generic[T]):
    """What the threads of one call share."""

    def __init__(self, tasks: Sequence[Task[T]]) -> None:
        self.errors: list[Exception] = []
        self._stop, self._left = threading.Event(), threading.Event()
        self._waiting: queue.SimpleQueue[Task[T]] = queue.SimpleQueue()
        for task in tasks:
            self._waiting.put(task)
        self._arrived: queue.SimpleQueue[tuple[T, threading.Event]] = queue.SimpleQueue()

    def work(self) -> None:
        """Do one task after another until there is none, or one has failed."""
        while not self._stop.is_set():
            try:
                task = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                task(self._hand_on)
            except Exception as error:  # not swallowed: raised where the results are waited for
                self.errors.append(error)
                self._stop.set()

    def _hand_on(self, result: T) -> None:
        taken = threading.Event()
        self._arrived.put((result, taken))
        while not taken.wait(_LOOK):
            if self._left.is_set():
                raise CancelledError("nobody takes the result")

    def gather(self, patience: float) -> list[tuple[T, threading.Event]]:
        """Wait for a result, then take all that come within a moment."""
        try:
            found = [self._arrived.get(timeout=patience)]
        except queue.Empty:
            return []
        until = time.monotonic() + GATHER
        while True:
            try:
                found.append(self._arrived.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                return found

    def leave(self) -> None:
        """Begin no other task, and let no thread wait for its result to be taken."""
        self._stop.set()
        self._left.set()
