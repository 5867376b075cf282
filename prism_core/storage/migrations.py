"""How a store of an earlier version becomes one of today's: a list of statements for each step.

All steps that are missing run in one transaction that runs alone, so a store is of one version or
the next whenever a process dies, and of two apps that open it one migrates. A step only adds: an
earlier version of PRISM Studio that still has the store open goes on writing rows that fit.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from prism_core.errors import StorageError
from prism_core.storage.schema import VERSION, meta

STEPS: Mapping[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE runs ADD COLUMN session TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX completions_by_age ON completions (created)",
        "CREATE INDEX scores_by_age ON scores (created)",
    )
}
"""The statements that lead from a version to the next, in SQL that SQLite and PostgreSQL share."""


def migrate(connection: sa.Connection, label: str) -> None:
    """Bring the tables to today's version, in the transaction that is open.

    Raises:
        StorageError: a later version of PRISM Studio wrote the store `label`.
    """
    found = sa.select(meta.c.value).where(meta.c.name == "version")
    text = connection.execute(found).scalar_one()
    if not text.isdecimal():
        raise StorageError(f"The store {label} has tables of version {text[:20]!r}, which is none.")
    version = int(text)
    if version > VERSION:
        raise StorageError(
            f"The store {label} was written by a later version of PRISM Studio (tables {version}, "
            f"this one knows {VERSION}). Update PRISM Studio, or set PRISM_DATA_HOME to another "
            "folder."
        )
    for step in range(version, VERSION):
        for statement in STEPS[step]:
            connection.execute(sa.text(statement))
    if version < VERSION:
        at = sa.update(meta).where(meta.c.name == "version")
        connection.execute(at.values(value=str(VERSION)))
