"""What a power failure, a full disk, an older store and a second app may do: lose nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from prism_core.errors import InputError, StorageError
from prism_core.storage import Store, liveness
from prism_core.storage.liveness import trouble
from prism_core.storage.schema import runs
from prism_core.storage.upkeep import DAY, backup, check_store, prune
from prism_core.types import Completion
from prism_core.utils.durable import replacing

VERSION_1 = """
CREATE TABLE meta (name VARCHAR(40) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name));
CREATE TABLE runs (id VARCHAR(64) NOT NULL, kind VARCHAR(20) NOT NULL, title TEXT NOT NULL,
  owner VARCHAR(200) NOT NULL, spec TEXT NOT NULL, status VARCHAR(20) NOT NULL,
  stage TEXT NOT NULL, done FLOAT NOT NULL, total FLOAT NOT NULL, note TEXT NOT NULL,
  seconds_left FLOAT, message TEXT NOT NULL, folder TEXT NOT NULL, created FLOAT NOT NULL,
  queued FLOAT NOT NULL, started FLOAT, updated FLOAT NOT NULL, heartbeat FLOAT,
  worker TEXT NOT NULL, worker_host TEXT NOT NULL, worker_pid INTEGER,
  takeovers INTEGER NOT NULL, takeover_mark INTEGER NOT NULL, PRIMARY KEY (id));
CREATE INDEX runs_by_status ON runs (status, queued);
CREATE INDEX runs_by_owner ON runs (owner, created);
CREATE TABLE records (position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  run_id VARCHAR(64) NOT NULL, stage VARCHAR(80) NOT NULL, "key" VARCHAR(300) NOT NULL,
  payload TEXT NOT NULL, CONSTRAINT records_one_a_key UNIQUE (run_id, stage, "key"),
  FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE);
CREATE INDEX records_in_order ON records (run_id, stage, position);
CREATE TABLE completions ("key" VARCHAR(64) NOT NULL, payload TEXT NOT NULL,
  created FLOAT NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE scores ("key" VARCHAR(64) NOT NULL, payload TEXT NOT NULL, created FLOAT NOT NULL,
  PRIMARY KEY ("key"));
INSERT INTO meta VALUES ('version', '1');
INSERT INTO runs VALUES ('0123456789abcdef01234567', 'train', 'Old', 'ann', '{"n":1}', 'running',
  's', 1, 2, '', NULL, '', '/old', 5, 5, 5, 5, 5, 'w', 'elsewhere', 1, 3, 0);
INSERT INTO records VALUES (1, '0123456789abcdef01234567', 's', 'a', '{"x":1}');
"""
"""The tables as version 1 made them, with a run whose worker was lost three times."""
OLD_RUN = "0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _own_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRISM_DATABASE_URL", raising=False)


def old_store(home: Path) -> Path:
    home.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(home / "prism.sqlite3")) as made:
        made.executescript(VERSION_1)
    return home


def test_a_store_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    with Store(home=old_store(tmp_path)) as store:
        run = store.get_run(OLD_RUN)
        assert (run.title, run.takeovers, run.session) == ("Old", 3, "")
        assert store.get_records(OLD_RUN, "s") == {"a": {"x": 1}}
        assert check_store(store).problems == ()
        fresh = {(n, t) for n, t in schema_of(store.home)}
    (tmp_path / "new").mkdir()
    with Store(home=tmp_path / "new") as new:
        assert {(n, t) for n, t in schema_of(new.home)} == fresh  # a new one has the same parts
    with Store(home=tmp_path) as again:  # and it opens again
        assert again.claim_next("w") is not None


def schema_of(home: Path) -> list[tuple[str, str]]:
    """Return the names of tables, columns and indexes."""
    with contextlib.closing(sqlite3.connect(home / "prism.sqlite3")) as opened:
        parts = opened.execute("SELECT name, tbl_name FROM sqlite_master").fetchall()
        columns = opened.execute("SELECT name, type FROM pragma_table_info('runs')").fetchall()
    return parts + [(name, "runs") for name, _ in columns]


def test_of_many_that_open_an_old_store_one_migrates(tmp_path: Path) -> None:
    old_store(tmp_path)
    errors: list[Exception] = []

    def open_it() -> None:
        try:
            Store(home=tmp_path).close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with Store(home=tmp_path) as store:
        assert store.get_run(OLD_RUN).title == "Old"


def test_a_migration_that_dies_halfway_leaves_the_old_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prism_core.storage import migrations

    old_store(tmp_path)
    before = schema_of(tmp_path)
    broken = {1: (*migrations.STEPS[1], "CREATE INDEX completions_by_age ON nowhere (x)")}
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", broken)
        with pytest.raises(StorageError):
            Store(home=tmp_path)
    assert schema_of(tmp_path) == before
    with Store(home=tmp_path) as store:
        assert store.get_run(OLD_RUN).title == "Old"


def test_what_a_person_started_is_forced_to_the_disk(tmp_path: Path) -> None:
    with Store(home=tmp_path) as store:
        full, normal = 2, 1

        def synchronous(**options: bool) -> int:
            with store.database.write(**options) as connection:
                return connection.exec_driver_sql("PRAGMA synchronous").scalar_one()

        assert synchronous() == full
        assert synchronous(fleeting=True) == normal
        assert synchronous() == full  # the same pooled connection, back again


def copy_of(home: Path, to: Path) -> Path:
    """Copy a store's files as they lie on the disk at this moment."""
    to.mkdir()
    for path in home.glob("prism.sqlite3*"):
        if not path.name.endswith("-shm"):  # shared memory: no power failure leaves it
            shutil.copyfile(path, to / path.name)
    return to


def test_a_power_failure_between_write_and_sync_takes_the_open_transaction_alone(
    tmp_path: Path,
) -> None:
    with Store(home=tmp_path / "home") as store:
        run = store.create_run("train", "t", {})
        for i in range(20):
            store.put_records(run.id, "s", {f"kept-{i}": "x" * 2_000})
        with pytest.raises(ZeroDivisionError), store.database.write() as connection:
            connection.exec_driver_sql("PRAGMA cache_size=1")  # pages reach the log at once
            rows = [
                {"id": run.id, "key": f"lost-{i}", "payload": '"' + "y" * 2_000 + '"'}
                for i in range(200)
            ]
            statement = "INSERT INTO records (run_id, stage, key, payload) VALUES (:id, 's', "
            connection.execute(sa.text(statement + ":key, :payload)"), rows)
            written = copy_of(store.home, tmp_path / "between")
            raise ZeroDivisionError  # nothing is committed
    assert b"y" * 2_000 in (written / "prism.sqlite3-wal").read_bytes()  # it was on its way
    with Store(home=written) as after:
        assert after.record_keys(run.id, "s") == [f"kept-{i}" for i in range(20)]
        assert check_store(after).problems == ()


def test_a_log_cut_off_anywhere_gives_a_whole_earlier_state(tmp_path: Path) -> None:
    """The last sectors of the log are lost or torn: whole transactions remain, in their order."""
    with Store(home=tmp_path / "home") as store:
        run = store.create_run("train", "t", {})
        for i in range(12):
            store.put_records(run.id, "s", {f"{i}-a": "x" * 900, f"{i}-b": "x" * 900})
        whole = copy_of(store.home, tmp_path / "whole")
    log = (whole / "prism.sqlite3-wal").read_bytes()
    counts = set()
    for step in range(24):
        home = copy_of(whole, tmp_path / f"cut-{step}")
        keep = len(log) * step // 23
        torn = log[:keep] + os.urandom(min(700, len(log) - keep))
        (home / "prism.sqlite3-wal").write_bytes(torn)
        with Store(home=home) as after:
            keys = after.record_keys(run.id, "s")
            assert keys == [f"{i}-{part}" for i in range(12) for part in "ab"][: len(keys)]
            assert len(keys) % 2 == 0 and check_store(after).problems == ()
            counts.add(len(keys))
    assert {0, 24} < counts


def test_a_file_is_on_the_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, order = tmp_path / "checkpoint", []
    path.write_text("old")

    def noting(name: str, act: Callable[..., None]) -> Callable[..., None]:
        def noted(*arguments: object) -> None:
            order.append(name)
            act(*arguments)

        return noted

    monkeypatch.setattr(os, "fsync", noting("fsync", os.fsync))
    monkeypatch.setattr(os, "replace", noting("replace", os.replace))
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert order == ["fsync", "replace", "fsync"] and path.read_text() == "new"
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["checkpoint"]


def test_deaths_count_only_while_the_app_lives(tmp_path: Path) -> None:
    def die(store: Store, run_id: str) -> None:
        with store.database.write() as connection:
            gone = {"heartbeat": time.time() - 1_000, "worker_pid": 2**22 + 1}
            connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**gone))

    with Store(home=tmp_path) as store:
        run = store.create_run("train", "t", {})
        for start in range(12):  # the app restarts again and again, and the worker dies with it
            taken = store.claim_next(f"w{start}", session=f"start-{start}")
            assert taken is not None and taken.takeovers == 0
            die(store, run.id)
        store.claim_next("w", session="the last start")
        for death in (1, 2, 3, 4):  # now the worker alone dies
            die(store, run.id)
            taken = store.claim_next("w", session="the last start")
            assert taken is not None and taken.takeovers == death
        die(store, run.id)
        assert store.claim_next("w", session="the last start") is None
        assert store.get_run(run.id).status == "failed"


def test_a_full_disk_and_a_silent_worker_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(home=tmp_path) as store:
        run_id = store.create_run("train", "t", {}).id
        waiting = store.get_run(run_id)
        assert trouble(waiting, tmp_path, time.time() + 1_000) == ""  # in a queue nobody answers
        run = store.claim_next("w")
        assert run is not None and trouble(run, tmp_path, time.time()) == ""
        assert "not answered for 60 s" in trouble(run, tmp_path, (run.heartbeat or 0) + 60)
        with pytest.raises(InputError, match="is running"):
            store.requeue(run_id)
        with monkeypatch.context() as patch:
            usage = shutil.disk_usage(tmp_path)._replace(free=7_000_000)
            patch.setattr(liveness.shutil, "disk_usage", lambda _: usage)
            assert "full: 7 MB are left" in trouble(run, tmp_path, time.time())
        store.finish(run_id, "failed", "x")
        assert trouble(store.get_run(run_id), tmp_path, time.time() + 60) == ""


# --- backup, check, prune ---------------------------------------------------------------------


def filled(home: Path) -> tuple[Store, str]:
    store = Store(home=home)
    run = store.create_run("study", "Mine", {"n": 1})
    store.put_records(run.id, "s", {"a": {"x": 1}})
    store.put_completions({"a" * 64: Completion("hello", finish="stop")})
    (home / "runs" / run.id).mkdir(parents=True)
    (home / "runs" / run.id / "study.parquet").write_bytes(b"content")
    return store, run.id


def test_a_backup_made_while_others_write_is_a_store(tmp_path: Path) -> None:
    store, run_id = filled(tmp_path / "home")
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            store.put_records(run_id, "busy", {f"{number}-a": 1, f"{number}-b": 1})
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = backup(store, tmp_path / "copy")
    finally:
        stop.set()
        writer.join()
    with Store(home=tmp_path / "copy") as copy:
        assert copy.get_run(run_id).title == "Mine"
        assert len(copy.record_keys(run_id, "busy")) % 2 == 0  # whole transactions
        assert check_store(copy).problems == ()
        assert (copy.home / "runs" / run_id / "study.parquet").read_bytes() == b"content"
    assert made.files == 2 and made.size > 7
    for place, said in ((tmp_path / "copy", "exists"), (store.home / "x", "outside")):
        with pytest.raises(InputError, match=said):
            backup(store, place)
    store.close()


def test_a_check_finds_each_damage(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    with store.database.write() as connection:
        connection.execute(sa.text("UPDATE records SET payload = '{broken'"))
        connection.execute(sa.text("UPDATE completions SET payload = '{\"text\": 5}'"))
    report = check_store(store)
    assert (report.runs, report.records, report.answers) == (1, 1, 1)
    assert len(report.problems) == 2
    assert "records" in report.problems[0] and "completions" in report.problems[1]
    store.close()


def test_a_prune_takes_what_is_old_and_nothing_else(tmp_path: Path) -> None:
    store, old = filled(tmp_path)
    store.finish(old, "done")
    new = store.create_run("study", "New", {}).id
    store.put_completions({"b" * 64: Completion("new", finish="length")})
    with store.database.write() as connection:
        long_ago = {"then": time.time() - 40 * DAY, "id": old}
        connection.execute(sa.text("UPDATE runs SET updated = :then WHERE id = :id"), long_ago)
        changed = "UPDATE completions SET created = :then WHERE key LIKE 'aaa%'"
        connection.execute(sa.text(changed), long_ago)
    orphan, partial = tmp_path / "runs" / ("f" * 32), tmp_path / ".study.1234.partial"
    orphan.mkdir()
    partial.write_text("half")
    fresh = tmp_path / ".other.1234.partial"
    fresh.write_text("being written")
    for path in (orphan, partial):
        os.utime(path, (0, 0))
    assert check_store(store).leftovers == 2
    told = prune(store, 30, 30, dry_run=True)
    assert (told.runs, told.answers, told.leftovers) == (1, 1, 2) and orphan.exists()
    assert prune(store, 30, 30) == told
    assert [run.id for run in store.list_runs()] == [new]
    assert set(store.get_completions(["a" * 64, "b" * 64])) == {"b" * 64}
    assert fresh.exists() and not (orphan.exists() or partial.exists())
    assert not (tmp_path / "runs" / old).exists()
    assert prune(store).runs == 0  # without an age nothing is old
    store.close()
