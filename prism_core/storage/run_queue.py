"""How workers take runs from the queue, show that they live, and hand them back.

A worker takes the oldest waiting run, after any whose worker died: those go on first. Each change
of hands happens in a transaction that runs alone, so two workers never hold the same run. A run
that has lost its worker again and again without a new record is failed instead of tried for ever;
where the app ended with the worker, the run is not to blame, and nothing is counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from prism_core.errors import InputError, NotFoundError
from prism_core.progress import ProgressReport
from prism_core.storage.database import Database
from prism_core.storage.folders import check_run_id
from prism_core.storage.liveness import this_host, worker_lives
from prism_core.storage.run_row import ACTIVE, ENDED, RunRow, RunStatus
from prism_core.storage.schema import records, runs
from prism_core.storage.values import loads

MAX_TAKEOVERS = 5
"""A run that lost this many workers in a row without a new record is failed."""
_LOST = (
    "The process that did the work ended unexpectedly {n} times at the same point, "
    "perhaps because the memory ran out. Resume the run to try again, or make it smaller."
)
NO_WORKER: Mapping[str, Any] = {"worker": "", "worker_host": "", "worker_pid": None}


class RunQueue:
    """The part of the runs table that workers use."""

    _db: Database

    def claim_next(self, worker_id: str, at_once: int = 1, session: str = "") -> RunRow | None:
        """Take the next run for this process, or None if there is none to take now.

        No other worker may use the same `worker_id`; `at_once` limits the runs on this machine;
        `session` is the start of the app that started this worker.
        """
        now = time.time()
        with self._db.write(alone=True) as connection:
            lost, live = self._split_active(connection, now)
            for run in lost:
                if run.status == "cancelling":
                    self._end(connection, run.id, "cancelled", "")
            if sum(run.worker_host == this_host() for run in live) >= at_once:
                return None
            for run in lost:
                if run.status == "running" and self._take_over(connection, run, session):
                    return self._assign(connection, run.id, worker_id, session, now)
            waiting = (
                sa.select(runs.c.id)
                .where(runs.c.status == "queued")
                .order_by(runs.c.queued, runs.c.id)
                .limit(1)
            )
            run_id = connection.execute(waiting).scalar()
            if run_id is None:
                return None
            return self._assign(connection, run_id, worker_id, session, now)

    def has_work(self) -> bool:
        """Whether a run waits, or has lost its worker."""
        waiting = sa.select(runs.c.id).where(runs.c.status == "queued").limit(1)
        with self._db.read() as connection:
            if connection.execute(waiting).first() is not None:
                return True
            return bool(self._split_active(connection, time.time())[0])

    def queue_position(self, run_id: str) -> int | None:
        """Return 0 if the run is at work, 1 if it is the next to start, ...; None if it has ended.

        Raises:
            NotFoundError: there is no such run.
        """
        chosen = sa.select(runs.c.status, runs.c.queued).where(runs.c.id == check_run_id(run_id))
        with self._db.read() as connection:
            row = connection.execute(chosen).first()
            if row is None:
                raise NotFoundError(f"There is no run '{run_id}'.")
            if row.status != "queued":
                return None if row.status in ENDED else 0
            earlier = sa.or_(
                runs.c.queued < row.queued, (runs.c.queued == row.queued) & (runs.c.id < run_id)
            )
            ahead = sa.select(sa.func.count()).where(runs.c.status == "queued", earlier)
            return 1 + connection.execute(ahead).scalar_one()

    def heartbeat(
        self, run_id: str, worker_id: str, report: ProgressReport | None = None
    ) -> RunStatus | None:
        """Show that the worker lives, and its progress if there is any new.

        Returns:
            The run's status, or None if this worker no longer has the run.
        """
        now = time.time()
        changes: dict[str, Any] = {"heartbeat": now}
        if report is not None:
            changes |= {
                "stage": clean_text(report.stage, 80),
                "done": float(report.done),
                "total": float(report.total),
                "note": clean_text(report.note, 300),
                "seconds_left": report.seconds_left,
                "updated": now,
            }
        mine = (runs.c.id == run_id) & (runs.c.worker == worker_id) & runs.c.status.in_(ACTIVE)
        with self._db.write(fleeting=True) as connection:
            if connection.execute(sa.update(runs).where(mine).values(**changes)).rowcount == 0:
                return None
            chosen = sa.select(runs.c.status).where(runs.c.id == run_id)
            status: RunStatus = connection.execute(chosen).scalar_one()
            return status

    def is_cancel_requested(self, run_id: str) -> bool:
        """Whether the run should stop: a cancel was asked for, or it is gone."""
        chosen = sa.select(runs.c.status).where(runs.c.id == run_id)
        with self._db.read() as connection:
            return connection.execute(chosen).scalar() in (None, "cancelling", "cancelled")

    def finish(
        self, run_id: str, status: RunStatus, message: str = "", worker_id: str | None = None
    ) -> bool:
        """End a run as done, failed or cancelled, with a sentence for people.

        Returns:
            Whether it was ended: False if it has ended already, or another worker has it.

        Raises:
            InputError: `status` is not an end.
        """
        if status not in ENDED:
            raise InputError(f"A run cannot end as '{status}'. Choose one of: {', '.join(ENDED)}.")
        with self._db.write() as connection:
            return self._end(connection, run_id, status, message, worker_id)

    def release(self, pid: int, host: str | None = None) -> int:
        """Put the runs of a process that was stopped on purpose back where they were in the queue.

        Runs that were to be cancelled are. Returns how many runs there were.
        """
        its = (runs.c.worker_pid == pid) & (runs.c.worker_host == (host or this_host()))
        now = time.time()
        with self._db.write(alone=True) as connection:
            stopping = sa.update(runs).where(its, runs.c.status == "cancelling")
            stopped = stopping.values(status="cancelled", updated=now, **NO_WORKER)
            count = connection.execute(stopped).rowcount
            working = sa.update(runs).where(its, runs.c.status == "running")
            back = working.values(status="queued", updated=now, **NO_WORKER)
            return count + connection.execute(back).rowcount

    @classmethod
    def _split_active(
        cls, connection: sa.Connection, now: float
    ) -> tuple[list[RunRow], list[RunRow]]:
        """Return runs at work whose worker is dead, oldest first, and those whose worker lives."""
        chosen = sa.select(runs).where(runs.c.status.in_(ACTIVE)).order_by(runs.c.queued)
        lost: list[RunRow] = []
        live: list[RunRow] = []
        for row in map(cls._row, connection.execute(chosen)):
            (live if worker_lives(row, now) else lost).append(row)
        return lost, live

    @classmethod
    def _take_over(cls, connection: sa.Connection, run: RunRow, session: str) -> bool:
        """Count a worker lost in this session; False if that was one too many: the run failed."""
        count = sa.select(sa.func.count()).where(records.c.run_id == run.id)
        mark = connection.execute(count).scalar_one()
        before = sa.select(runs.c.takeover_mark).where(runs.c.id == run.id)
        last = connection.execute(before).scalar_one()
        takeovers = (run.takeovers if mark == last else 0) + (run.session == session)
        if takeovers >= MAX_TAKEOVERS:
            cls._end(connection, run.id, "failed", _LOST.format(n=takeovers))
            return False
        changes = {"takeovers": takeovers, "takeover_mark": mark}
        connection.execute(sa.update(runs).where(runs.c.id == run.id).values(**changes))
        return True

    @classmethod
    def _assign(
        cls, connection: sa.Connection, run_id: str, worker_id: str, session: str, now: float
    ) -> RunRow:
        changes = {
            "status": "running",
            "worker": worker_id,
            "worker_host": this_host(),
            "worker_pid": os.getpid(),
            "session": session,
            "heartbeat": now,
            "updated": now,
            "started": sa.func.coalesce(runs.c.started, now),
            "message": "",
        }
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**changes))
        return cls._row(connection.execute(sa.select(runs).where(runs.c.id == run_id)).one())

    @staticmethod
    def _end(
        connection: sa.Connection,
        run_id: str,
        status: RunStatus,
        message: str,
        worker_id: str | None = None,
    ) -> bool:
        chosen = sa.update(runs).where(runs.c.id == run_id, runs.c.status.not_in(ENDED))
        if worker_id is not None:
            chosen = chosen.where(runs.c.worker == worker_id)
        changes = {"status": status, "message": clean_text(message, 2_000), "seconds_left": None}
        ended = chosen.values(**changes, updated=time.time(), **NO_WORKER)
        return connection.execute(ended).rowcount > 0

    @staticmethod
    def _row(row: Any) -> RunRow:
        values = dict(row._mapping)
        del values["takeover_mark"]
        return RunRow(**(values | {"spec": loads(values["spec"])}))


def clean_text(text: str, most: int) -> str:
    """Make a text that every database takes: no NUL, no broken Unicode, at most `most` long."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:most]
