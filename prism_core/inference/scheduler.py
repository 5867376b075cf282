"""Which rows decode next: iteration-level scheduling (Orca, Yu et al. 2022), without a thread.

1. A `Job` is one caller's rows. Its rows are waiting, running, finished or aborted.
2. Between two steps of the batch, waiting rows join it: of the owner who has fewest rows running,
   in the order in which they came. All rows together hold a bounded number of tokens.
3. A step's tokens go to their jobs. A job that was cancelled or closed leaves at the next step.
4. Where a step fails, its rows go on from the tokens they have: by the library's layers if the fast
   path failed, else each job by itself, so that only the one at fault is told of the error.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from prism_core.errors import ModelError
from prism_core.inference.batch import DecodingBatch, Drawn
from prism_core.inference.rows import Row
from prism_core.progress import Cancel

MAX_ROWS = 128
"""Rows decoded together at the most; more gain nothing on a CPU."""
_JOIN_SHARE = 4
"""A job that decodes already sends more rows once this part of the batch is free."""
_ticks = count()


@dataclass(frozen=True)
class News:
    """What a step did for a job."""

    time: float
    """When, by `time.perf_counter`."""
    grown: tuple[tuple[int, int], ...] = ()
    """(row in the job, how many tokens its answer has now)."""
    is_over: bool = False
    """Whether nothing more will come."""
    error: Exception | None = None
    """Why the job failed; then it is over."""


@dataclass(eq=False)
class Job:
    """One caller's rows."""

    rows: Sequence[Row]
    owner: object
    """Whose turn it is; owners share the batch evenly."""
    cancel: Cancel = None
    is_closed: bool = False
    """Whether nobody waits for the answers any more."""
    is_alone: bool = False
    """Whether it failed beside others, and so is decoded without them."""
    news: queue.SimpleQueue[News] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        self.order = next(_ticks)
        # The longest first: rows of similar length need less padding.
        self.waiting = sorted(self.rows, key=lambda row: -row.need)
        self.place = {row: i for i, row in enumerate(self.rows)}
        self.has_begun = False

    @property
    def is_stopped(self) -> bool:
        """Whether its rows are to be aborted."""
        return self.is_closed or (self.cancel is not None and self.cancel.is_set())

    @property
    def is_over(self) -> bool:
        """Whether no row waits or runs."""
        return not any(row.is_running for row in self.rows)

    def abort(self) -> None:
        """Abort what is not finished."""
        self.waiting = []
        for row in self.rows:
            if row.is_running:
                row.finish = "cancelled"

    def tell(self, work: Callable[[], None] | None = None) -> Iterator[News]:
        """Yield news until the job is over; `work` is called before each, to bring it about.

        Raises:
            ModelError: what made it fail.
        """
        while True:
            if work is not None:
                work()
            news = self.news.get()
            if news.error is not None:
                raise news.error
            yield news
            if news.is_over:
                return


class _AllStopped(threading.Event):
    """Set once every one of some jobs is stopped."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__()
        self._jobs = jobs

    def is_set(self) -> bool:
        return all(job.is_stopped for job in self._jobs)


class Scheduler:
    """Decodes the rows of all jobs; `submit` may be called from any thread, `step` from one."""

    def __init__(
        self,
        make_batch: Callable[[], DecodingBatch],
        give_up: Callable[[DecodingBatch, Exception], bool],
        most_cells: int,
    ) -> None:
        """Prepare.

        Args:
            make_batch: makes an empty batch by the fastest way there is.
            give_up: told of a batch that failed; returns whether another way is left.
            most_cells: the most tokens that rows may hold together, each counted as the longest.
        """
        self._make_batch, self._give_up, self._most_cells = make_batch, give_up, most_cells
        self._batch: DecodingBatch | None = None
        self._jobs: list[Job] = []
        self._owner_of: dict[Row, Job] = {}
        self._incoming: queue.SimpleQueue[Job] = queue.SimpleQueue()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._jobs and self._incoming.empty()

    def submit(self, job: Job) -> None:
        """Take a job in."""
        self._incoming.put(job)

    def step(self) -> None:
        """Do one step of the work there is."""
        while not self._incoming.empty():
            job = self._incoming.get()
            self._jobs.append(job)
            self._owner_of |= dict.fromkeys(job.rows, job)
        for job in list(self._jobs):
            if job.is_stopped or job.is_over:
                job.abort()
                self._end(job)
        if not self._jobs:
            self._batch = None
            return
        try:
            self._admit()
            drawn = self._batch.step() if self._batch is not None else []
        except Exception as error:
            # Whatever went wrong in one step must not reach those who only shared it.
            self._recover(error)
        else:
            self._hand_out(drawn)
        if not self._jobs:
            self._batch = None  # the next one is made of the model as it is then

    def fail(self, error: Exception) -> None:
        """Let all jobs go, each told of the error."""
        self._batch = None
        for job in list(self._jobs):
            job.abort()
            self._end(job, _as_model_error(error))

    def _admit(self) -> None:
        """Let waiting rows join the batch."""
        if self._batch is None or not self._batch.rows:
            self._batch = self._make_batch()
        if not self._batch.takes_more:
            return
        rows = self._next_rows(self._batch.rows)
        if rows:
            jobs = list(dict.fromkeys(self._owner_of[row] for row in rows))
            for job in jobs:
                job.has_begun = True
                chosen = {id(row) for row in rows}
                job.waiting = [row for row in job.waiting if id(row) not in chosen]
            self._batch.add(rows, _AllStopped(jobs))

    def _next_rows(self, running: Sequence[Row]) -> list[Row]:
        """Choose the rows that join: whose owner has fewest running, first come first served."""
        left = {job: list(job.waiting) for job in self._candidates(running)}
        held: dict[object, int] = {}
        for row in running:
            owner = self._owner_of[row].owner if row in self._owner_of else None
            held[owner] = held.get(owner, 0) + 1
        chosen: list[Row] = []
        widest = max((row.need for row in running), default=0)
        while left and len(running) + len(chosen) < MAX_ROWS:
            job = min(left, key=lambda j: (held.get(j.owner, 0), j.order))
            row = left[job].pop(0)
            widest = max(widest, row.need)
            total = len(running) + len(chosen) + 1
            if total > 1 and total * widest > self._most_cells:
                break
            chosen.append(row)
            held[job.owner] = held.get(job.owner, 0) + 1
            if not left[job]:
                del left[job]
        return chosen

    def _candidates(self, running: Sequence[Row]) -> list[Job]:
        """Return the jobs whose rows may join now."""
        waiting = [job for job in self._jobs if job.waiting]
        alone = next((job for job in self._jobs if job.is_alone), None)
        if alone is not None:
            # It takes nobody with it: the batch empties first, then it is decoded by itself.
            others = [row for row in running if self._owner_of.get(row) is not alone]
            return [alone] if alone.waiting and not others else []
        free = MAX_ROWS - len(running)
        # Reading a few rows costs as much as a step of all: jobs at work wait for a larger share.
        if free >= MAX_ROWS // _JOIN_SHARE or not running:
            return waiting
        return [job for job in waiting if not job.has_begun]

    def _hand_out(self, drawn: Drawn) -> None:
        """Tell each job what it got."""
        now = time.perf_counter()
        grown: dict[Job, list[tuple[int, int]]] = {}
        for row, _ in drawn:
            job = self._owner_of[row]
            grown.setdefault(job, []).append((job.place[row], len(row.answer)))
        for job, changed in grown.items():
            job.news.put(News(now, tuple(changed)))
            if job.is_over:
                self._end(job)

    def _end(self, job: Job, error: Exception | None = None) -> None:
        """Let a job go."""
        self._jobs.remove(job)
        for row in job.rows:
            self._owner_of.pop(row, None)
        job.news.put(News(time.perf_counter(), is_over=True, error=error))

    def _recover(self, error: Exception) -> None:
        """Go on after a step that failed."""
        batch, self._batch = self._batch, None
        begun = [job for job in self._jobs if job.has_begun and not job.is_over]
        touched = begun or self._jobs[:1]
        if batch is None or not self._give_up(batch, error):
            if len(touched) <= 1 or any(job.is_alone for job in touched):
                guilty = next((job for job in touched if job.is_alone), None) or touched[0]
                guilty.abort()
                self._end(guilty, _as_model_error(error))
                touched.remove(guilty)
            else:
                for job in touched:
                    job.is_alone = True
        for job in touched:
            job.has_begun = False
            left = {id(row) for row in job.waiting}
            job.waiting += [r for r in job.rows if r.is_running and id(r) not in left]


def _as_model_error(error: Exception) -> Exception:
    lines = str(error).strip().splitlines()
    reason = ": ".join([type(error).__name__, *lines[:1]])
    made = ModelError(f"The model failed while it answered ({reason}).")
    made.__cause__ = error
    return made
