"""The store, on SQLite always and on a real PostgreSQL server among the slow tests."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.paths import ROOT
from support.postgres_server import postgres_url

from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.progress import ProgressReport
from prism_core.storage import Store, completion_key, data_dir, dumps, pack, score_key, unpack
from prism_core.storage.folders import make_folder, run_folder
from prism_core.storage.liveness import process_lives
from prism_core.storage.schema import runs
from prism_core.types import ChoiceScore, Completion, GateReading, Message, Sampling, Verdict

QUESTION = (Message("system", "You are a pirate."), Message("user", "What is 2 + 2?"))


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres_url() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    monkeypatch.delenv("PRISM_DATABASE_URL", raising=False)
    url = request.getfixturevalue("server") if request.param == "postgresql" else None
    with Store(url, tmp_path / "home") as opened:
        yield opened
        with opened._db.write() as connection:
            connection.execute(sa.delete(runs))


def make(store: Store, title: str = "A run", owner: str = "ann", kind: str = "train") -> str:
    return store.create_run(kind, title, {"n": 3}, owner).id


def dead_pid() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def change(store: Store, run_id: str, **values: object) -> None:
    """What another machine or a crash would have left in the row."""
    with store._db.write() as connection:
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**values))


# --- runs -------------------------------------------------------------------------------------


def test_run_comes_back_as_it_was_made(store: Store) -> None:
    deep = {"none": None, "yes": True}
    spec = {"personas": ["pirate", "été"], "n": 3, "rate": 5e-4, "deep": deep}
    run = store.create_run("study", "  Two\n lines ", spec, owner="ann")
    assert store.get_run(run.id) == run
    assert (run.kind, run.title, run.status, run.owner) == ("study", "Two lines", "queued", "ann")
    assert run.spec == spec
    assert run.path == run_folder(run.id, store.home)
    assert len(run.id) >= 22 and not run.is_ended and run.fraction is None


def test_lists_newest_first_by_owner_kind_and_status(store: Store) -> None:
    a, b, c = make(store, "a"), make(store, "b", "bob"), make(store, "c", kind="study")
    assert [r.id for r in store.list_runs()] == [c, b, a]
    assert [r.id for r in store.list_runs(owner="ann")] == [c, a]
    assert [r.id for r in store.list_runs(kind="study")] == [c]
    assert [r.id for r in store.list_runs(limit=2)] == [c, b]
    store.request_cancel(a)
    assert [r.id for r in store.list_runs(statuses=["cancelled"])] == [a]


def test_one_owner_can_do_nothing_with_anothers_run(store: Store) -> None:
    run_id = make(store)
    for call in (
        lambda: store.get_run(run_id, owner="bob"),
        lambda: store.get_run(run_id, owner=""),
        lambda: store.delete_run(run_id, owner="bob"),
        lambda: store.request_cancel(run_id, owner="bob"),
        lambda: store.requeue(run_id, owner="bob"),
    ):
        with pytest.raises(NotFoundError) as hidden:
            call()
        # The words are those for a run that does not exist, so they give nothing away.
        assert str(hidden.value) == f"There is no run '{run_id}'."
    assert store.get_run(run_id, owner="ann").title == "A run"


def test_delete(store: Store) -> None:
    run_id, other = make(store), make(store)
    store.put_records(run_id, "s", {"k": 1})
    store.put_records(other, "s", {"k": 2})
    folder = make_folder(run_folder(run_id, store.home))
    (folder / "file").write_text("x")
    store.delete_run(run_id, owner="ann")
    assert not folder.exists()
    with pytest.raises(NotFoundError):
        store.get_run(run_id)
    assert store.get_records(run_id, "s") == {} and store.get_records(other, "s") == {"k": 2}


def test_a_run_at_work_is_not_deleted(store: Store) -> None:
    run_id = make(store)
    store.claim_next("w")
    with pytest.raises(InputError, match="Cancel it"):
        store.delete_run(run_id)


@pytest.mark.parametrize(
    ("kind", "title", "spec", "owner", "words"),
    [
        ("cook", "t", {}, "", "no kind of run 'cook'"),
        ("train", " ", {}, "", "cannot be a title"),
        ("train", "x" * 201, {}, "", "1 to 200"),
        ("train", "nul\x00", {}, "", "printable"),
        ("train", "t", {"x": math.nan}, "", "JSON"),
        ("train", "t", {1: 2}, "", "keys must be text"),
        ("train", "t", {"f": object()}, "", "type object"),
        ("train", "t", [1], "", "must be a mapping"),
        ("train", "t", {"x": "y" * 1_000_001}, "", "1,000,000"),
        ("train", "t", {}, "\n", "cannot be an owner"),
    ],
)
def test_bad_runs_are_refused(
    store: Store, kind: str, title: str, spec: dict, owner: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        store.create_run(kind, title, spec, owner)
    assert store.list_runs() == []


# --- the queue --------------------------------------------------------------------------------


def test_oldest_run_first_and_one_at_a_time(store: Store) -> None:
    a, b, c = make(store, "a"), make(store, "b"), make(store, "c")
    assert [store.queue_position(x) for x in (a, b, c)] == [1, 2, 3]
    taken = store.claim_next("w1")
    assert taken is not None and taken.id == a and taken.status == "running"
    assert (taken.worker, taken.worker_pid) == ("w1", os.getpid())
    assert [store.queue_position(x) for x in (a, b, c)] == [0, 1, 2]
    assert store.claim_next("w2") is None
    second = store.claim_next("w2", at_once=2)
    assert second is not None and second.id == b
    assert store.finish(a, "done", worker_id="w1")
    assert store.queue_position(a) is None
    third = store.claim_next("w1", at_once=2)
    assert third is not None and third.id == c


def test_progress_and_heartbeat_are_written_by_the_worker_alone(store: Store) -> None:
    run_id = make(store)
    store.claim_next("w1")
    report = ProgressReport("queries", 3, 12, "math\x00", 4.5)
    assert store.heartbeat(run_id, "w2", report) is None
    assert store.get_run(run_id).stage == ""
    assert store.heartbeat(run_id, "w1", report) == "running"
    run = store.get_run(run_id)
    assert (run.stage, run.done, run.total, run.note) == ("queries", 3.0, 12.0, "math")
    assert run.seconds_left == 4.5 and run.fraction == 0.25


def test_finish_ends_a_run_once(store: Store) -> None:
    run_id = make(store)
    store.claim_next("w1")
    assert not store.finish(run_id, "failed", "no", worker_id="w2")
    assert store.finish(run_id, "failed", "The model is missing.", worker_id="w1")
    assert not store.finish(run_id, "done")
    run = store.get_run(run_id)
    assert (run.status, run.message, run.worker_pid) == ("failed", "The model is missing.", None)
    with pytest.raises(InputError, match="'running'"):
        store.finish(run_id, "running")


def test_cancel_and_resume(store: Store) -> None:
    a, b = make(store, "a"), make(store, "b")
    assert store.request_cancel(b).status == "cancelled"  # it was only waiting
    store.claim_next("w")
    assert not store.is_cancel_requested(a)
    assert store.request_cancel(a).status == "cancelling"
    assert store.request_cancel(a).status == "cancelling"
    assert store.is_cancel_requested(a)
    with pytest.raises(InputError, match="is cancelling"):
        store.requeue(a)
    store.finish(a, "cancelled")
    assert store.requeue(b).status == "queued" and store.requeue(a).status == "queued"
    assert [store.queue_position(x) for x in (b, a)] == [1, 2]  # in the order of resuming
    store.claim_next("w")
    store.finish(b, "done")
    assert store.request_cancel(b).status == "done"
    with pytest.raises(InputError, match="is done"):
        store.requeue(b)


def test_a_run_whose_process_died_is_taken_over_at_once(store: Store) -> None:
    run_id, waiting = make(store), make(store)
    store.claim_next("w1")
    assert not process_lives(dead_pid())
    change(store, run_id, worker_pid=dead_pid())
    taken = store.claim_next("w2")
    assert taken is not None and taken.id == run_id and taken.worker == "w2"
    assert store.heartbeat(run_id, "w1") is None  # the first worker has lost it
    assert store.queue_position(waiting) == 1


def test_a_zombie_counts_as_dead(store: Store) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it ended, and is not reaped
    assert not process_lives(process.pid)
    process.wait()


def test_a_run_from_another_machine_is_taken_over_when_silent(store: Store) -> None:
    run_id = make(store)
    store.claim_next("w1")
    now = time.time()
    change(store, run_id, worker_host="elsewhere", worker_pid=dead_pid(), heartbeat=now - 15)
    assert not store.has_work() and store.claim_next("w2") is None
    change(store, run_id, heartbeat=now - 25)
    assert store.has_work()
    taken = store.claim_next("w2")
    assert taken is not None and taken.id == run_id


def test_cancel_of_a_run_without_a_worker_is_immediate(store: Store) -> None:
    a, b = make(store, "a"), make(store, "b")
    store.claim_next("w1")
    change(store, a, worker_pid=dead_pid())
    assert store.request_cancel(a).status == "cancelled"
    store.claim_next("w1")
    # Silent, but its process is there: it has to be stopped, not forgotten.
    change(store, b, heartbeat=time.time() - 60)
    assert store.request_cancel(b).status == "cancelling"
    store.request_cancel(b)
    change(store, b, worker_pid=dead_pid())
    assert store.has_work()
    assert store.claim_next("w2") is None
    assert store.get_run(b).status == "cancelled"


def test_a_run_that_kills_its_workers_is_failed_unless_it_gets_on(store: Store) -> None:
    run_id = make(store)
    store.claim_next("w0")
    for i in range(1, 9):  # eight deaths, but each worker finished a part
        store.put_records(run_id, "s", {str(i): i})
        change(store, run_id, worker_pid=dead_pid())
        taken = store.claim_next(f"w{i}")
        assert taken is not None and taken.takeovers == 1
    for expected in (2, 3, 4):
        change(store, run_id, worker_pid=dead_pid())
        taken = store.claim_next("w")
        assert taken is not None and taken.takeovers == expected
    change(store, run_id, worker_pid=dead_pid())
    assert store.claim_next("w") is None  # the fifth in a row
    run = store.get_run(run_id)
    assert run.status == "failed" and "5 times at the same point" in run.message
    assert store.requeue(run_id).takeovers == 0


def test_release_puts_runs_back_in_their_place(store: Store) -> None:
    a, b = make(store, "a"), make(store, "b")
    store.claim_next("w")
    assert store.release(os.getpid()) == 1
    assert [store.queue_position(x) for x in (a, b)] == [1, 2]
    store.claim_next("w")
    store.request_cancel(a)
    assert store.release(os.getpid()) == 1
    assert store.get_run(a).status == "cancelled"


def test_threads_never_take_the_same_run(store: Store) -> None:
    made = [make(store, str(i)) for i in range(20)]
    taken: list[str] = []

    def take(name: str) -> None:
        while (run := store.claim_next(name, at_once=100)) is not None:
            taken.append(run.id)

    threads = [threading.Thread(target=take, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(made)


def _open_and_take(home: str, url: str | None, ready: Any, leave: Any, results: Any) -> None:
    with Store(url, Path(home)) as store:
        ready.wait()
        taken = []
        while (run := store.claim_next(f"w{os.getpid()}", at_once=100)) is not None:
            taken.append(run.id)
        results.put(taken)
        leave.wait()  # a process that is gone would lose its runs to the others


def test_processes_never_take_the_same_run(store: Store) -> None:
    made = [make(store, str(i)) for i in range(12)]
    context = multiprocessing.get_context("spawn")
    ready, leave, results = context.Barrier(3), context.Event(), context.Queue()
    url = store.environment["PRISM_DATABASE_URL"] or None
    arguments = (str(store.home), url, ready, leave, results)
    workers = [context.Process(target=_open_and_take, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    taken = [results.get(timeout=60) for _ in workers]
    leave.set()
    for worker in workers:
        worker.join()
    assert sorted(one for some in taken for one in some) == sorted(made)  # each of them once


def test_stores_created_in_the_same_moment_agree(tmp_path: Path) -> None:
    barrier = threading.Barrier(6)
    failures: list[Exception] = []

    def open_store() -> None:
        barrier.wait()
        try:
            Store(home=tmp_path).close()
        except Exception as error:  # whatever it is: a thread's error fails no test by itself
            failures.append(error)

    threads = [threading.Thread(target=open_store) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- records ----------------------------------------------------------------------------------


def test_records_keep_their_order_and_are_written_once(store: Store) -> None:
    run_id = make(store)
    store.put_records(run_id, "s", {"zebra": 1, "ant": {"x": [1, "ü\x00\ud800"]}})
    store.put_records(run_id, "s", {"middle": None, "zebra": 2})
    store.put_records(run_id, "other", {"zebra": 3})
    found = store.get_records(run_id, "s")
    assert list(found.items()) == [
        ("zebra", 2),
        ("ant", {"x": [1, "ü\x00\ud800"]}),
        ("middle", None),
    ]
    assert store.record_keys(run_id, "s") == ["zebra", "ant", "middle"]
    assert store.count_records(run_id) == {"s": 3, "other": 1}


def test_records_hold_dataclasses(store: Store) -> None:
    run_id = make(store)
    verdict = Verdict("tie", 0.75, 0.25)
    store.put_records(run_id, "verdicts", {"q1": verdict})
    assert store.get_values(run_id, "verdicts", Verdict) == {"q1": verdict}


def test_a_batch_is_written_whole_or_not_at_all(store: Store) -> None:
    run_id = make(store)
    for bad in ({"b": math.inf}, {"": 2}, {"x" * 301: 2}, {"\n": 2}, {"b": object()}):
        with pytest.raises(InputError):
            store.put_records(run_id, "s", {"a": 1} | bad)
    assert store.get_records(run_id, "s") == {}
    with pytest.raises(NotFoundError):
        store.put_records("f" * 32, "s", {"a": 1})


def test_ten_thousand_records_in_order(store: Store) -> None:
    run_id = make(store)
    for start in range(0, 10_000, 2_500):
        store.put_records(run_id, "s", {f"k{i}": i for i in range(start, start + 2_500)})
    assert list(store.get_records(run_id, "s").values()) == list(range(10_000))


# --- completions and scores -------------------------------------------------------------------


def test_cached_answers_come_back_equal(store: Store) -> None:
    key = completion_key("model-1", QUESTION, Sampling(), seed=1)
    answer = Completion("4", "2+2", 12, 1, 0.5, 0.625, "stop", GateReading(0.75, True))
    assert store.get_completions([key]) == {}
    assert store.put_completions({key: answer}) == 1
    assert store.get_completions(["0" * 64, key]) == {key: answer}
    store.put_completions({key: replace(answer, text="5")})
    assert store.get_completions([key]) == {key: answer}  # the first answer stays


def test_unfinished_answers_are_not_cached(store: Store) -> None:
    half = Completion("2 +", finish="cancelled")
    keys = [completion_key("m", QUESTION, Sampling(), seed=s) for s in (0, 1)]
    assert store.put_completions({keys[0]: half, keys[1]: replace(half, finish="length")}) == 1
    assert list(store.get_completions(keys)) == [keys[1]]


def test_cached_scores_come_back_equal(store: Store) -> None:
    key = score_key("m", QUESTION, ["4", "5"])
    scored = [ChoiceScore(-0.125, 1), ChoiceScore(-3.0, 2)]
    store.put_scores({key: scored})
    assert store.get_scores([key]) == {key: scored}
    others = {score_key("m", QUESTION, ["5", "4"]), score_key("n", QUESTION, ["4", "5"])}
    assert len({key} | others) == 3


def test_more_keys_than_a_query_takes(store: Store) -> None:
    keys = [completion_key("many", QUESTION, Sampling(), seed=s) for s in range(2_500)]
    store.put_completions({k: Completion(str(i), finish="stop") for i, k in enumerate(keys)})
    found = store.get_completions(keys)
    assert list(found) == keys and found[keys[2_499]].text == "2499"


def test_everything_that_changes_an_answer_changes_its_key() -> None:
    base = ("m", QUESTION, Sampling(), 0, 0, "")
    others = [
        ("m@adapter", QUESTION, Sampling(), 0, 0, ""),
        ("m", QUESTION[1:], Sampling(), 0, 0, ""),
        ("m", (*QUESTION, Message("assistant", "")), Sampling(), 0, 0, ""),
        ("m", QUESTION, Sampling(temperature=0.7), 0, 0, ""),
        ("m", QUESTION, Sampling(max_new_tokens=9), 0, 0, ""),
        ("m", QUESTION, Sampling(), 1, 0, ""),
        ("m", QUESTION, Sampling(), 0, 1, ""),
        ("m", QUESTION, Sampling(), 0, 0, "threshold=0.5"),
    ]
    keys = {completion_key(*one) for one in [base, *others]}
    assert len(keys) == 9
    assert completion_key(*base) == completion_key(*base)
    # Whole numbers and fractions of the same size are the same setting.
    whole = Sampling(temperature=0, top_p=1)
    assert completion_key("m", QUESTION, whole, 0) == completion_key(*base)
    # The key is a hash of text alone, so it is the same in every process and on every machine.
    text = json.dumps(
        ["completion", "m", [asdict(m) for m in QUESTION], asdict(Sampling()), 0, 0, ""],
        separators=(",", ":"),
    )
    assert completion_key(*base) == hashlib.sha256(text.encode()).hexdigest()


def test_a_cache_key_must_be_one(store: Store) -> None:
    with pytest.raises(InputError, match="completion_key"):
        store.put_completions({"short": Completion("x", finish="stop")})


# --- values -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    number: float
    word: str = "w"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (1, "a")
    named: dict[str, Inner] | None = None
    either: int | str = 0


def test_nested_dataclasses_go_to_json_and_back() -> None:
    value = Outer(Inner(0.5), (Inner(1.0, "x"),), (2, "b"), {"k": Inner(2.0)}, "text")
    assert pack(value)["many"] == [{"number": 1.0, "word": "x"}]
    assert unpack(Outer, pack(value)) == value
    assert unpack(Outer, {"inner": {"number": 3}}) == Outer(Inner(3.0))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "Outer lacks the field 'inner'"),
        ({"inner": {"number": "3"}}, "Outer.inner.number is '3'; it must be a number"),
        ({"inner": {"number": True}}, "must be a number"),
        ({"inner": {"number": 1, "code": 2}}, "no field 'code'"),
        ({"inner": {"number": 1}, "pair": [1]}, "a list of 2"),
        ({"inner": {"number": 1}, "many": [{"number": 1}, 5]}, r"Outer.many\[1\]"),
        ([], "must be an object"),
    ],
)
def test_wrong_data_is_named(data: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        unpack(Outer, data)


def test_a_word_outside_a_literal_is_refused() -> None:
    with pytest.raises(InputError, match="persona, neutral, tie"):
        unpack(Verdict, {"winner": "me", "persona_first": 1, "persona_second": 1})


def test_json_is_plain_ascii() -> None:
    assert dumps({"é": (1, None)}) == '{"\\u00e9":[1,null]}'


# --- folders, URLs, files ---------------------------------------------------------------------


def test_no_path_escapes_the_runs_folder(tmp_path: Path) -> None:
    for bad in ("../../etc/passwd", "a" * 21, "a" * 65, "", "a/" * 15, "-" + "a" * 30, "." * 22):
        with pytest.raises(InputError, match="not a run's id"):
            run_folder(bad, tmp_path)
    good = make_folder(run_folder("a" * 22, tmp_path))
    assert good == tmp_path / "runs" / ("a" * 22) and good.is_dir()
    assert good.stat().st_mode & 0o077 == 0  # nobody else may look


def test_the_data_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRISM_DATA_HOME", str(tmp_path / "here"))
    assert data_dir() == tmp_path / "here"
    monkeypatch.delenv("PRISM_DATABASE_URL", raising=False)
    with Store() as store:
        assert store.label.endswith("here/prism.sqlite3")
    monkeypatch.setenv("PRISM_DATABASE_URL", f"sqlite:///{tmp_path}/there.sqlite3")
    with Store() as store:
        assert store.label.endswith("there.sqlite3")
        assert store.environment["PRISM_DATABASE_URL"].endswith("there.sqlite3")
    monkeypatch.delenv("PRISM_DATA_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert sys.platform != "linux" or data_dir() == tmp_path / "prism-studio"


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:", "not a url"]
)
def test_other_databases_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="postgresql://") as refused:
        Store(url, tmp_path)
    assert "hunter2" not in str(refused.value)


def test_a_database_that_does_not_answer_is_a_storage_error(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StorageError) as failed:
        Store("postgresql://u:hunter2@127.0.0.1:1/d", tmp_path)
    assert "127.0.0.1" in str(failed.value) and "hunter2" not in str(failed.value)


def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "prism.sqlite3").write_text("this is not a database, and it is long enough" * 30)
    with pytest.raises(StorageError, match="not a database"):
        Store(home=tmp_path)


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    with Store(home=tmp_path) as store, store._db.write() as connection:
        connection.execute(sa.text("UPDATE meta SET value = '99'"))
    with pytest.raises(StorageError, match="tables 99"):
        Store(home=tmp_path)


def test_sqlite_is_set_up_for_several_processes(tmp_path: Path) -> None:
    with Store(home=tmp_path) as store, store._db.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


def test_readers_see_only_whole_batches(store: Store) -> None:
    run_id = make(store)
    stop = threading.Event()
    sizes: set[int] = set()

    def read() -> None:
        while not stop.is_set():
            sizes.add(len(store.record_keys(run_id, "s")))

    reader = threading.Thread(target=read)
    reader.start()
    for batch in range(20):
        store.put_records(run_id, "s", {f"{batch}/{i}": i for i in range(100)})
    stop.set()
    reader.join()
    assert all(size % 100 == 0 for size in sizes)


def test_the_store_outlives_its_process(tmp_path: Path) -> None:
    """A writer killed with SIGKILL loses at most the batch it was writing."""
    with Store(home=tmp_path) as store:
        run_id = make(store)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom prism_core.storage import Store\n"
        "store = Store(home=Path(sys.argv[1]))\n"
        "for i in range(10):\n    store.put_records(sys.argv[2], 's', {str(i): i})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path), run_id], cwd=ROOT)
    assert ended.returncode == -9
    with Store(home=tmp_path) as store:
        assert list(store.get_records(run_id, "s").values()) == list(range(10))
