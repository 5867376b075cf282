"""Look after a store: copy it while it is in use, look for damage, throw away what is old.

A backup is a folder like the store's own. The database is copied first, as of one moment; the files
follow, so every file that the copied database speaks of is there. To go back, put the folder where
the store's was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from prism_core.errors import InputError, PrismError, StorageError
from prism_core.progress import Progress
from prism_core.storage.run_row import ENDED
from prism_core.storage.schema import completions, records, runs, scores
from prism_core.storage.store import Store
from prism_core.storage.values import loads, unpack
from prism_core.types import Completion
from prism_core.utils.durable import sync_file, sync_folder

DAY = 86_400.0
LEFTOVER_SECONDS = DAY
"""What a killed process left behind is nobody's after this time."""
_CHUNK = 500
_NOT_COPIED = ("-wal", "-shm", "-journal", ".partial", ".lock")


@dataclass(frozen=True)
class Backup:
    """A copy that was made."""

    folder: str
    files: int
    size: int
    """Bytes in all."""


@dataclass(frozen=True)
class CheckReport:
    """What a look at every row found."""

    runs: int
    records: int
    answers: int
    """Cached answers and choice scores."""
    problems: tuple[str, ...]
    """A sentence each; none means that everything can be read."""
    leftovers: int
    """Files and folders that belong to no run any more; `prune` removes them."""


@dataclass(frozen=True)
class Pruned:
    """What was removed, or would be."""

    runs: int = 0
    answers: int = 0
    leftovers: int = 0
    size: int = 0
    """Bytes of files that were removed; a smaller database comes on top."""


def backup(store: Store, target: Path, progress: Progress | None = None) -> Backup:
    """Copy a store and its files into the new folder `target`, whole or not at all.

    Raises:
        InputError: `target` exists, or lies in the store's folder; or the store is PostgreSQL.
        StorageError: the copy cannot be written.
        CancelledError: stopped on the way.
    """
    source = _sqlite_file(store)
    target = target.expanduser().absolute()
    if target.exists():
        raise InputError(f"'{target}' exists already; give a new folder.")
    if target.is_relative_to(store.home):
        raise InputError(f"'{target}' lies in the store's own folder; give one outside it.")
    progress = progress or Progress()
    part = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        part.mkdir(mode=0o700, parents=True)
        _copy_database(source, part / source.name, progress)
        for path in _files(store.home, source):
            progress.check()
            _copy_file(path, part / path.relative_to(store.home))
        made = [path for path in part.rglob("*") if path.is_file()]
        for folder in {part, *(path.parent for path in made)}:
            sync_folder(folder)
        os.replace(part, target)
        sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"The backup in '{target}' failed: {error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    size = sum((target / path.relative_to(part)).stat().st_size for path in made)
    return Backup(str(target), len(made), size)


def check_store(store: Store, progress: Progress | None = None) -> CheckReport:
    """Read every row of a store.

    Raises:
        StorageError: the database cannot be read at all.
        CancelledError: stopped on the way.
    """
    progress = progress or Progress()
    problems: list[str] = []
    with store.database.read() as connection:
        if store.database.is_sqlite:
            found = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars()
            problems += [f"The database is damaged: {line}." for line in found if line != "ok"]
            astray = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            problems += [f"{len(astray)} records belong to no run."] if astray else []
        counts = {}
        for table, column in (
            (runs, runs.c.spec),
            (records, records.c.payload),
            (completions, completions.c.payload),
            (scores, scores.c.payload),
        ):
            key = table.c.position if table is records else table.primary_key.columns[0]
            counts[table.name] = 0
            for name, text in connection.execution_options(yield_per=_CHUNK).execute(
                sa.select(key, column)
            ):
                progress.check()
                counts[table.name] += 1
                try:
                    data = loads(text)
                    if table is completions:
                        unpack(Completion, data)
                except PrismError as error:
                    problems.append(f"In '{table.name}', '{name}' cannot be read: {error}")
    answers = counts["completions"] + counts["scores"]
    left = len(list(_leftovers(store, time.time())))
    return CheckReport(counts["runs"], counts["records"], answers, tuple(problems), left)


def prune(
    store: Store,
    runs_days: float | None = None,
    answers_days: float | None = None,
    *,
    dry_run: bool = False,
) -> Pruned:
    """Remove ended runs and cached answers older than so many days, and what killed processes left.

    None keeps them whatever their age. A `dry_run` only counts.

    Raises:
        InputError: a number of days is negative.
        StorageError: something cannot be removed, or somebody holds the database.
    """
    for days in (runs_days, answers_days):
        if days is not None and not days >= 0:
            raise InputError(f"{days} days cannot be an age; give 0 or more.")
    now = time.time()
    old_runs, answers = [], 0
    with store.database.read() as connection:
        if runs_days is not None:
            old = (runs.c.status.in_(ENDED)) & (runs.c.updated < now - runs_days * DAY)
            old_runs = list(connection.execute(sa.select(runs.c.id).where(old)).scalars())
        if answers_days is not None:
            for table in (completions, scores):
                past = table.c.created < now - answers_days * DAY
                chosen = sa.select(sa.func.count()).select_from(table).where(past)
                answers += connection.execute(chosen).scalar_one()
    size = sum(_size(store.home / "runs" / run_id) for run_id in old_runs)
    if not dry_run:
        for run_id in old_runs:
            store.delete_run(run_id)
        if answers_days is not None:
            _delete_answers(store, now - answers_days * DAY)
    left = list(_leftovers(store, now))
    size += sum(_size(path) for path in left)
    if not dry_run:
        for path in left:
            _remove(path)
        store.database.shrink()
    return Pruned(len(old_runs), answers, len(left), size)


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"'{path}' cannot be removed: {error.strerror}.") from error


def _delete_answers(store: Store, before: float) -> None:
    with store.database.write() as connection:
        for table in (completions, scores):
            connection.execute(sa.delete(table).where(table.c.created < before))


def _sqlite_file(store: Store) -> Path:
    if not store.database.is_sqlite:
        raise InputError(f"The store is {store.label}; copy it with PostgreSQL's own pg_dump.")
    return store.database.file


def _copy_database(source: Path, target: Path, progress: Progress) -> None:
    """Copy a SQLite file as of one moment, while others write to it."""
    progress.update("backup", 0, 1, "the database")
    with (
        contextlib.closing(sqlite3.connect(source)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)  # all at once: in steps it would begin anew whenever somebody writes
    sync_file(target)


def _files(home: Path, database: Path) -> Iterator[Path]:
    """Yield the files of a store that a copy needs, the database left aside."""
    for path in sorted(home.rglob("*")):
        inner = path.relative_to(home)
        if path.is_symlink() or not path.is_file() or inner.parts[0] == "logs":
            continue
        if path != database and not path.name.endswith(_NOT_COPIED):
            yield path


def _copy_file(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # replaced or deleted since it was listed
        shutil.copy2(path, target)
        sync_file(target)


def _leftovers(store: Store, now: float) -> Iterator[Path]:
    """Yield what no run owns: folders of runs that are gone, and files that were never finished."""
    with store.database.read() as connection:
        known = set(connection.execute(sa.select(runs.c.id)).scalars())
    folder = store.home / "runs"
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in known and now - path.stat().st_mtime > LEFTOVER_SECONDS:
            yield path
    for path in store.home.rglob("*.partial"):
        gone = path.is_relative_to(folder) and path.relative_to(folder).parts[0] not in known
        if not gone and now - path.stat().st_mtime > LEFTOVER_SECONDS:
            yield path


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
