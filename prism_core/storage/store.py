"""`Store`: runs, records and cached answers behind one connection."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from prism_core.storage.completions import CompletionTables
from prism_core.storage.database import Database
from prism_core.storage.folders import data_dir
from prism_core.storage.records import RecordTable
from prism_core.storage.runs import RunTable


class Store(RunTable, RecordTable, CompletionTables):
    """All that PRISM Studio remembers. Safe to share among threads; one a process."""

    def __init__(self, url: str | None = None, home: Path | None = None) -> None:
        """Open the store, making it where it is missing.

        Args:
            url: a database URL; by default `PRISM_DATABASE_URL`, or a SQLite file in `home`.
            home: the folder for run folders and logs; by default `data_dir()`.

        Raises:
            InputError: the URL is not a SQLite file or a PostgreSQL database.
            StorageError: the database cannot be opened, or another version wrote it.
        """
        self.home = home or data_dir()
        self._db = Database(url, self.home)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a child process's `Store()` opens the same store.

        They hold the database's password: pass them on, never show them.
        """
        url = "" if self._db.is_default else self._db.url
        return {"PRISM_DATA_HOME": str(self.home), "PRISM_DATABASE_URL": url}

    def together(self) -> AbstractContextManager[None]:
        """Make one transaction of all that this thread writes: it is kept whole, or not at all."""
        return self._db.together()

    @property
    def database(self) -> Database:
        """The connection, for what looks after the store as a whole."""
        return self._db

    @property
    def label(self) -> str:
        """The database's URL without its password, for people."""
        return self._db.label

    def close(self) -> None:
        """Give the connections back."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
