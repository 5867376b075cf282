"""Records: the journal of a run's finished parts.

A stage writes each finished batch under keys of its own; each call is one transaction. Whoever
continues the run reads the keys back and does only what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from prism_core.errors import InputError, NotFoundError
from prism_core.storage.database import Database
from prism_core.storage.folders import check_run_id
from prism_core.storage.schema import records, runs
from prism_core.storage.values import dumps, loads_all, unpack

T = TypeVar("T")

MAX_STAGE, MAX_KEY = 80, 300


@dataclass(frozen=True)
class Record:
    """One finished part of a run."""

    position: int
    """Grows with every new record of the store."""
    key: str
    """The part's name within its stage."""
    payload: Any
    """What came out, as plain JSON data."""


class RecordTable:
    """The records of every run."""

    _db: Database
    home: Path

    def put_records(self, run_id: str, stage: str, payloads: Mapping[str, Any]) -> None:
        """Write finished parts in one transaction; a key that exists keeps its place.

        Args:
            run_id: the run.
            stage: the stage's name.
            payloads: key -> dataclass or plain JSON data, in the order to be kept.

        Raises:
            NotFoundError: there is no such run.
            InputError: a key or stage is empty or too long, or a payload has no JSON form.
        """
        check_run_id(run_id)
        _check_name(stage, "stage", MAX_STAGE)
        rows = [
            {
                "run_id": run_id,
                "stage": stage,
                "key": _check_name(key, "key", MAX_KEY),
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
        """A stage's finished parts, key -> plain data, in the order of their first writing."""
        return {one.key: one.payload for one in self.list_records(run_id, stage)}

    def get_values(self, run_id: str, stage: str, kind: type[T]) -> dict[str, T]:
        """A stage's finished parts as dataclasses of one kind.

        Raises:
            InputError: a payload does not fit `kind`.
        """
        return {key: unpack(kind, data) for key, data in self.get_records(run_id, stage).items()}

    def list_records(self, run_id: str, stage: str, after: int = 0) -> list[Record]:
        """Records first written after position `after`, in order: what is new since a look."""
        chosen = (
            sa.select(records.c.position, records.c.key, records.c.payload)
            .where(records.c.run_id == run_id, records.c.stage == stage)
            .where(records.c.position > after)
            .order_by(records.c.position)
        )
        with self._db.read() as connection:
            rows = connection.execute(chosen).all()
        payloads = loads_all([row.payload for row in rows])
        return [Record(row[0], row[1], data) for row, data in zip(rows, payloads, strict=True)]

    def record_keys(self, run_id: str, stage: str) -> list[str]:
        """The keys that a stage has finished, in order, without their payloads."""
        chosen = (
            sa.select(records.c.key)
            .where(records.c.run_id == run_id, records.c.stage == stage)
            .order_by(records.c.position)
        )
        with self._db.read() as connection:
            return list(connection.execute(chosen).scalars())

    def count_records(self, run_id: str) -> dict[str, int]:
        """How many parts each stage has finished."""
        chosen = (
            sa.select(records.c.stage, sa.func.count())
            .where(records.c.run_id == run_id)
            .group_by(records.c.stage)
            .order_by(sa.func.min(records.c.position))
        )
        with self._db.read() as connection:
            return {stage: count for stage, count in connection.execute(chosen)}

    def delete_records(self, run_id: str, stage: str | None = None) -> int:
        """Forget a stage's parts, or all of the run's; returns how many there were."""
        chosen = sa.delete(records).where(records.c.run_id == run_id)
        if stage is not None:
            chosen = chosen.where(records.c.stage == stage)
        with self._db.write() as connection:
            return connection.execute(chosen).rowcount


def _check_name(text: str, what: str, most: int) -> str:
    if not isinstance(text, str) or not 0 < len(text) <= most or not text.isprintable():
        raise InputError(
            f"{str(text)[:80]!r} cannot be a record's {what}: "
            f"it must be 1 to {most} printable characters."
        )
    return text
