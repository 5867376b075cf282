"""A connection to SQLite or PostgreSQL whose transactions behave alike.

SQLite gets write-ahead logging that every commit forces to the disk, a patient lock, foreign keys,
and BEGIN IMMEDIATE for writes, so that two processes never upgrade a read lock into a deadlock.
Database errors leave as `StorageError`, with the password taken out of every message.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from prism_core.errors import InputError, StorageError
from prism_core.storage import schema
from prism_core.storage.folders import make_folder
from prism_core.storage.migrations import migrate

LOCK_SECONDS = 30.0
"""How long a write waits for another process's transaction."""
_ADVISORY_LOCK = 7_217_001


class Database:
    """An engine, its two kinds of transaction, and the tables."""

    def __init__(self, url: str | None, home: Path) -> None:
        """Connect and make missing tables; see `Store` for what it raises."""
        self._url = _parse_url(url, home)
        self.is_default = self._url == _default_url(home)
        """Whether it is the SQLite file that `home` alone stands for."""
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self.label = self._url.render_as_string(hide_password=True)
        """The URL without its password, for people."""
        if self.is_sqlite:
            make_folder(Path(str(self._url.database)).parent)
        self._engine = _make_engine(self._url)
        self._writer = self._engine.execution_options(prism_write="FULL")
        self._fleeting_writer = self._engine.execution_options(prism_write="NORMAL")
        self._mine = threading.local()
        self._create_tables()

    @property
    def url(self) -> str:
        """The whole URL, password included, for child processes."""
        return self._url.render_as_string(hide_password=False)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self, *, alone: bool = False, fleeting: bool = False) -> Iterator[sa.Connection]:
        """A transaction that writes; `alone` lets no other such block run at the same time.

        It is on the disk when the block ends, unless it is `fleeting`: signs of life, which a power
        failure may take. Within `together` it is a part of that transaction.
        """
        outer: sa.Connection | None = getattr(self._mine, "connection", None)
        if outer is not None:
            yield outer
            return
        writer = self._fleeting_writer if fleeting else self._writer
        with self._translated(), writer.begin() as connection:
            if alone and not self.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            yield connection

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one transaction of all that this thread writes: it is kept whole, or not at all."""
        with self.write() as connection:
            self._mine.connection = connection
            try:
                yield
            finally:
                self._mine.connection = None

    def upsert(
        self, table: sa.Table, keys: Sequence[str], update: Sequence[str] = ()
    ) -> postgresql.Insert | sqlite.Insert:
        """INSERT that, where `keys` exist already, sets the columns `update` or does nothing."""
        insert: Any = sqlite.insert if self.is_sqlite else postgresql.insert
        statement = insert(table)
        if not update:
            return statement.on_conflict_do_nothing(index_elements=list(keys))
        changes = {name: statement.excluded[name] for name in update}
        return statement.on_conflict_do_update(index_elements=list(keys), set_=changes)

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return Path(str(self._url.database))

    def shrink(self) -> None:
        """Give the space of what was deleted back to the disk; PostgreSQL does that by itself.

        Raises:
            StorageError: somebody else holds the file.
        """
        if not self.is_sqlite:
            return
        try:
            with contextlib.closing(sqlite3.connect(self.file, timeout=LOCK_SECONDS)) as own:
                own.execute("VACUUM")
                own.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise StorageError(
                f"The file of the store {self.label} could not be made smaller: {error}. "
                "Try again while nobody uses it."
            ) from error

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _create_tables(self) -> None:
        if self.is_sqlite:
            with self._translated(), self._engine.connect() as connection:
                _use_wal(connection)
        with self.write(alone=True) as connection:
            schema.metadata.create_all(connection)
            statement = self.upsert(schema.meta, ["name"])
            connection.execute(statement, [{"name": "version", "value": str(schema.VERSION)}])
            migrate(connection, self.label)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            if "disk is full" in reason:
                reason = f"{reason}. Free some space on its disk, then try again."
            raise StorageError(f"The store {self.label} failed: {reason}") from error


def _default_url(home: Path) -> sa.URL:
    return sa.URL.create("sqlite", database=str(home / "prism.sqlite3"))


def _parse_url(url: str | None, home: Path) -> sa.URL:
    text = url or os.environ.get("PRISM_DATABASE_URL", "")
    if not text:
        return _default_url(home)
    try:
        parsed = sa.make_url(text)
    except ArgumentError as error:
        raise InputError(_url_help("a URL that cannot be read")) from error
    if parsed.drivername in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise InputError(_url_help(f"a '{parsed.drivername}' database"))
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InputError(_url_help("a SQLite database in memory, which workers cannot see"))
    return parsed


def _url_help(found: str) -> str:
    return (
        f"The store's URL (PRISM_DATABASE_URL) names {found}. Allowed are "
        "'sqlite:////folder/file.sqlite3' and 'postgresql://user:password@host/database'."
    )


def _make_engine(url: sa.URL) -> sa.Engine:
    try:
        if url.get_backend_name() != "sqlite":
            return sa.create_engine(url, pool_pre_ping=True)
        engine = sa.create_engine(url, connect_args={"timeout": LOCK_SECONDS})
    except ModuleNotFoundError as error:
        raise InputError(
            f"The store's URL needs the Python package '{error.name}', which is not installed: "
            "pip install 'psycopg[binary]'."
        ) from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise InputError(_url_help("a database driver that is not known")) from error
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # We write BEGIN ourselves: Python's sqlite3 would start a transaction only at the first write.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    synchronous = connection.get_execution_options().get("prism_write")
    if synchronous is None:
        connection.exec_driver_sql("BEGIN")
        return
    # With a write-ahead log, NORMAL loses nothing when a process dies, only when the power fails.
    connection.exec_driver_sql(f"PRAGMA synchronous={synchronous}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _use_wal(connection: sa.Connection) -> None:
    """Turn on write-ahead logging, which a file keeps. It cannot be done in a transaction.

    SQLite does not wait for its turn here: of two that switch a new file at the same moment, one
    is told at once that the file is locked. So the waiting is ours.
    """
    driver = connection.connection.driver_connection
    end = time.monotonic() + LOCK_SECONDS
    while driver is not None:
        try:
            if driver.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                driver.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise StorageError(f"The store could not be set up: {error}.") from error
            time.sleep(0.02)
