"""Records: the journal of a run's finished parts.

A stage writes each finished batch under keys of its own; each call is one transaction. Whoever
continues the run reads the keys back and does only what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from prism_core.errors import NotFoundError
from prism_core.storage.database import Database
from prism_core.storage.folders import check_printable, check_run_id
from prism_core.storage.schema import records, runs
from prism_core.storage.values import dumps, loads_all, unpack

T = TypeVar("T")

MAX_STAGE, MAX_KEY = 80, 300


class RecordTable:
    """The records of every run."""

    _db: Database

    def put_records(self, run_id: str, stage: str, payloads: Mapping[str, Any]) -> None:
        """Write finished parts in one transaction; a key that exists keeps its place.

        `payloads` are dataclasses or plain JSON data by key, in the order to be kept.

        Raises:
            NotFoundError: there is no such run.
            InputError: a key or stage is empty or too long, or a payload has no JSON form.
        """
        check_run_id(run_id)
        check_printable(stage, "cannot be a record's stage", 1, MAX_STAGE)
        rows = [
            {
                "run_id": run_id,
                "stage": stage,
                "key": check_printable(key, "cannot be a record's key", 1, MAX_KEY),
                "payload": dumps(payload),
            }
            for key, payload in payloads.items()
        ]
        if not rows:
            return
        with self._db.write() as connection:
            # The share lock keeps the run from being deleted between this look and the insert.
            found = sa.select(runs.c.id).where(runs.c.id == run_id).with_for_update(read=True)
            if connection.execute(found).first() is None:
                raise NotFoundError(f"There is no run '{run_id}'.")
            statement = self._db.upsert(records, ["run_id", "stage", "key"], ["payload"])
            connection.execute(statement, rows)

    def get_records(self, run_id: str, stage: str) -> dict[str, Any]:
        """Return a stage's finished parts, key -> plain data, in the order of first writing."""
        chosen = _of_stage(run_id, stage, records.c.key, records.c.payload)
        with self._db.read() as connection:
            rows = connection.execute(chosen).all()
        payloads = loads_all([row.payload for row in rows])
        return {row.key: data for row, data in zip(rows, payloads, strict=True)}

    def get_values(self, run_id: str, stage: str, kind: type[T]) -> dict[str, T]:
        """Return a stage's finished parts as dataclasses of one kind.

        Raises:
            InputError: a payload does not fit `kind`.
        """
        return {key: unpack(kind, data) for key, data in self.get_records(run_id, stage).items()}

    def record_keys(self, run_id: str, stage: str) -> list[str]:
        """Return the keys that a stage has finished, in order, without their payloads."""
        with self._db.read() as connection:
            chosen = _of_stage(run_id, stage, records.c.key)
            return list(connection.execute(chosen).scalars())

    def count_records(self, run_id: str) -> dict[str, int]:
        """Count the parts that each stage has finished."""
        chosen = (
            sa.select(records.c.stage, sa.func.count())
            .where(records.c.run_id == run_id)
            .group_by(records.c.stage)
            .order_by(sa.func.min(records.c.position))
        )
        with self._db.read() as connection:
            return {stage: count for stage, count in connection.execute(chosen)}


def _of_stage(run_id: str, stage: str, *columns: sa.Column[Any]) -> sa.Select[Any]:
    here = (records.c.run_id == run_id, records.c.stage == stage)
    return sa.select(*columns).where(*here).order_by(records.c.position)
