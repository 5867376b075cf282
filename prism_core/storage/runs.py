"""Runs as people see them: made, listed, renamed, stopped, resumed, deleted.

A visitor's id given as `owner` hides everybody else's runs, as if they did not exist; None, for
the worker and the command line, sees all. How workers take runs is in `run_queue`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.storage.folders import check_printable, check_run_id, new_run_id, run_folder
from prism_core.storage.liveness import is_silent, worker_lives, worker_may_obey
from prism_core.storage.run_queue import NO_WORKER, RunQueue
from prism_core.storage.run_row import ACTIVE, RUN_STATUSES, RunRow, check_kind
from prism_core.storage.schema import records, runs
from prism_core.storage.values import dumps

MAX_TITLE, MAX_OWNER, MAX_SPEC = 200, 200, 1_000_000


class RunTable(RunQueue):
    """The runs of all visitors.

    A method that takes a run's id raises `NotFoundError` where there is none or it is another
    visitor's, and `InputError` where the text does not have the form of an id.
    """

    home: Path

    def create_run(
        self,
        kind: str,
        title: str,
        spec: Mapping[str, Any],
        owner: str = "",
        folder: Path | None = None,
    ) -> RunRow:
        """Put a new run at the end of the queue.

        `spec` is what to do, as plain JSON data without secrets; `folder` is where its files go, by
        default a folder of its own in the store's home.

        Raises:
            InputError: a value is not allowed.
        """
        run_id, now = new_run_id(), time.time()
        row = {
            "id": run_id,
            "kind": check_kind(kind),
            "title": _check_title(title),
            "owner": check_printable(owner, "cannot be an owner", 0, MAX_OWNER),
            "spec": _check_spec(spec),
            "status": "queued",
            "folder": str(folder or run_folder(run_id, self.home)),
            "created": now,
            "queued": now,
            "updated": now,
        }
        with self._db.write() as connection:
            connection.execute(sa.insert(runs), [row])
        return self.get_run(run_id)

    def get_run(self, run_id: str, owner: str | None = None) -> RunRow:
        """Return one run."""
        with self._db.read() as connection:
            return self._fetch(connection, check_run_id(run_id), owner)

    def list_runs(
        self,
        owner: str | None = None,
        kind: str | None = None,
        statuses: Sequence[str] | None = None,
        limit: int = 100,
    ) -> list[RunRow]:
        """List runs, newest first; None means all owners, kinds or statuses.

        Raises:
            InputError: there is no such kind or status.
        """
        chosen = sa.select(runs).order_by(runs.c.created.desc(), runs.c.id)
        if owner is not None:
            chosen = chosen.where(runs.c.owner == owner)
        if kind is not None:
            chosen = chosen.where(runs.c.kind == check_kind(kind))
        if statuses is not None:
            unknown = [one for one in statuses if one not in RUN_STATUSES]
            if unknown:
                raise InputError(
                    f"There is no status '{unknown[0]}'. Known are: {', '.join(RUN_STATUSES)}."
                )
            chosen = chosen.where(runs.c.status.in_(statuses))
        with self._db.read() as connection:
            rows = connection.execute(chosen.limit(limit)).all()
        return [self._row(row) for row in rows]

    def delete_run(self, run_id: str, owner: str | None = None) -> None:
        """Delete a run, its records and its folder in the store's home.

        A folder elsewhere, which a person chose, is left alone.

        Raises:
            InputError: it is at work; it has to be cancelled first.
            StorageError: its folder cannot be deleted.
        """
        with self._db.write() as connection:
            run = self._fetch(connection, check_run_id(run_id), owner, lock=True)
            if run.status in ACTIVE and worker_lives(run, time.time()):
                raise InputError(f"The run '{run.title}' is at work. Cancel it, then delete it.")
            connection.execute(sa.delete(records).where(records.c.run_id == run_id))
            connection.execute(sa.delete(runs).where(runs.c.id == run_id))
        folder = run_folder(run_id, self.home)
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise StorageError(
                f"The run is deleted, but its folder {folder} is not: {error.strerror or error}."
            ) from error

    def request_cancel(self, run_id: str, owner: str | None = None) -> RunRow:
        """Ask a run to stop. One that waits, or whose worker is dead, is cancelled at once.

        An ended run stays as it is.
        """
        now = time.time()
        with self._db.write(alone=True) as connection:
            run = self._fetch(connection, check_run_id(run_id), owner, lock=True)
            if run.status == "queued" or (run.status in ACTIVE and not worker_may_obey(run, now)):
                self._end(connection, run_id, "cancelled", "")
            elif run.status == "running":
                changes = {"status": "cancelling", "updated": now}
                connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**changes))
            return self._fetch(connection, run_id, owner)

    def requeue(self, run_id: str, owner: str | None = None) -> RunRow:
        """Put a run that was cancelled, failed or is stuck at the end of the queue.

        It goes on where it was. A worker that is stuck and comes back finds that it has lost it.

        Raises:
            InputError: it is waiting, at work or done.
        """
        now = time.time()
        with self._db.write(alone=True) as connection:
            run = self._fetch(connection, check_run_id(run_id), owner, lock=True)
            if run.status not in ("cancelled", "failed") and not is_silent(run, now):
                raise InputError(
                    f"The run '{run.title}' is {run.status}; "
                    "only a cancelled, failed or stuck one can be resumed."
                )
            changes = {"status": "queued", "queued": now, "updated": now, "takeovers": 0}
            changes |= NO_WORKER
            again = sa.update(runs).where(runs.c.id == run_id).values(**changes, message="")
            connection.execute(again)
            return self._fetch(connection, run_id, owner)

    @staticmethod
    def _fetch(
        connection: sa.Connection, run_id: str, owner: str | None, *, lock: bool = False
    ) -> RunRow:
        chosen = sa.select(runs).where(runs.c.id == run_id)
        row = connection.execute(chosen.with_for_update() if lock else chosen).first()
        if row is None or (owner is not None and row.owner != owner):
            raise NotFoundError(f"There is no run '{run_id}'.")
        return RunQueue._row(row)


def _check_title(title: str) -> str:
    clean = " ".join(str(title).split())
    return check_printable(clean, "cannot be a title", 1, MAX_TITLE)


def _check_spec(spec: Mapping[str, Any]) -> str:
    if not isinstance(spec, Mapping):
        raise InputError(f"A run's spec must be a mapping, not {type(spec).__name__}.")
    text = dumps(spec)
    if len(text) > MAX_SPEC:
        raise InputError(f"A run's spec may have {MAX_SPEC:,} characters; this has {len(text):,}.")
    return text
