"""The one engine of a model: a thread decodes the rows of all callers together.

Callers submit jobs and read their news; the thread owns the model while it steps and gives it away
between steps to whoever waits for its lock (scores, the gate's readings, training). It ends when
nothing was asked of it for a while. A caller who holds the lock drives a scheduler of its own: it
has the model to itself, and the thread could not decode.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence

import torch

from prism_core.inference.rows import Row
from prism_core.inference.scheduler import Job, News, Scheduler
from prism_core.progress import Cancel
from prism_core.utils.fair_lock import FairLock

_log = logging.getLogger(__name__)

_LINGER_SECONDS = 5.0
"""The thread waits so long for more before it ends."""


class Engine:
    """Decodes rows for any number of callers."""

    def __init__(
        self,
        make_scheduler: Callable[[], Scheduler],
        lock: FairLock,
        before_step: Callable[[], None] | None = None,
    ) -> None:
        """Prepare; `before_step` may wait for others before each step."""
        self._make_scheduler, self._lock = make_scheduler, lock
        self._before_step = before_step or (lambda: None)
        self._scheduler = make_scheduler()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def decode(
        self, rows: Sequence[Row], *, owner: object = None, cancel: Cancel = None
    ) -> Iterator[News]:
        """Decode rows; yield news of them until all have ended.

        Rows that are not done when the iterator is closed, or when `cancel` is set, are aborted
        within a step. `owner` is whose turn it is; None stands for this call alone.

        Raises:
            ModelError: the model failed on these rows.
        """
        job = Job(rows, owner if owner is not None else object(), cancel)
        news = self._alone(job) if self._lock.is_mine else self._submitted(job)
        try:
            yield from news
        finally:
            job.is_closed = True

    def _submitted(self, job: Job) -> Iterator[News]:
        self._scheduler.submit(job)
        with self._wake:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
                self._thread.start()
            self._wake.notify()
        yield from job.tell()

    def _alone(self, job: Job) -> Iterator[News]:
        scheduler = self._make_scheduler()
        scheduler.submit(job)

        def work() -> None:
            while job.news.empty():
                self._before_step()
                with torch.inference_mode():
                    scheduler.step()

        yield from job.tell(work)

    def _work(self) -> None:
        while True:
            while not self._scheduler.is_idle:
                self._before_step()
                with self._lock, torch.inference_mode():
                    self._step()
            with self._wake:
                if self._scheduler.is_idle:
                    self._wake.wait(_LINGER_SECONDS)
                if self._scheduler.is_idle:
                    self._thread = None
                    return

    def _step(self) -> None:
        try:
            self._scheduler.step()
        except Exception as error:
            # A defect of ours: whoever waits is told, and the thread goes on for those who come.
            _log.exception("The engine failed between two steps")
            self._scheduler.fail(error)
