"""How many runs a client may have, and how long one may be at work.

Whose a run is stands among its records, so it is known after a restart as well. A run that has been
at work for longer than is allowed is stopped with a sentence; what it finished is kept, and whoever
resumes it queues again, so nobody holds the machine for good.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from app.services.event_log import EventLog
from app.services.quotas import Quotas, check_quota
from prism_core.storage import RunRow, RunStatus, Store

UNFINISHED: tuple[RunStatus, ...] = ("queued", "running", "cancelling")
MOST_UNFINISHED = 1_000
"""Far more than may wait."""
_STAGE, _KEY = "client", "name"


class RunLimits:
    """The quotas on runs. Safe to share among threads."""

    def __init__(
        self,
        store: Store,
        quotas: Quotas,
        log: EventLog | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._quotas, self._log, self._now = store, quotas, log, now
        self._known: dict[str, str] = {}
        self._began: dict[tuple[str, str], float] = {}
        self._guard = threading.RLock()

    @contextmanager
    def one_more(self, client: str) -> Iterator[None]:
        """Let nobody else start a run meanwhile, and refuse it where a client has too many.

        Raises:
            InputError: the client has as many unfinished runs as it may have.
        """
        with self._guard:
            if client:
                held = [run for run in self._unfinished() if self.client_of(run.id) == client]
                most = self._quotas.runs
                check_quota(len(held), most, "unfinished runs", client, self._log)
            yield

    def note(self, run_id: str, client: str) -> None:
        """Note whose a run is; with an empty name, nobody's."""
        if client:
            self._store.put_records(run_id, _STAGE, {_KEY: client})
            self._known[run_id] = client
            if self._log is not None:
                self._log.note("run queued", run=run_id, client=client)

    def client_of(self, run_id: str) -> str:
        """Return whose a run is; empty where nobody knows."""
        if run_id not in self._known:
            self._known[run_id] = str(self._store.get_records(run_id, _STAGE).get(_KEY, ""))
        return self._known[run_id]

    @property
    def has_clock(self) -> bool:
        """Whether any run can be at work for too long."""
        return math.isfinite(self._quotas.run_seconds)

    def overdue(self, running: Sequence[RunRow]) -> list[RunRow]:
        """Return those of all runs at work that have been for longer than they may."""
        now = self._now()
        turns = {(run.id, run.worker): run for run in running}
        with self._guard:
            self._began = {turn: self._began.get(turn, now) for turn in turns}
            most = self._quotas.run_seconds
            return [turns[turn] for turn, began in self._began.items() if now - began > most]

    def note_overdue(self, run_id: str) -> None:
        """Write down that a run was stopped because its time was up."""
        if self._log is not None:
            self._log.refuse(self.client_of(run_id), "run", "time")

    def overdue_sentence(self) -> str:
        """Say why a run was stopped."""
        minutes = self._quotas.run_seconds / 60
        return (
            f"It was stopped after {minutes:.0f} minutes at work, the most on this public copy. "
            "What it finished is kept: resume it to queue again."
        )

    def _unfinished(self) -> list[RunRow]:
        return self._store.list_runs(statuses=UNFINISHED, limit=MOST_UNFINISHED)
