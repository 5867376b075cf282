"""The worker, its watch and the app's jobs: real processes, really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import support.worker_handlers
from support.paths import PYTHONPATH, ROOT
from support.postgres_server import postgres_url
from support.worker_parts import count_run, effects, jobs, start, store, wait_for, wait_until

from app.services.jobs import Jobs, LogFile
from prism_core.errors import InputError, NotFoundError
from prism_core.storage import Store
from prism_core.storage.liveness import process_lives
from prism_core.worker.process import HANDLERS, WorkerOptions, load_object, work

__all__ = ["jobs", "start", "store"]


# --- in this process --------------------------------------------------------------------------


def test_does_what_waits_in_order_and_leaves(store: Store) -> None:
    first, second = count_run(store, 2), count_run(store, 3, kind="study")
    assert work(store, support.worker_handlers.COUNT, WorkerOptions(once=True)) == 2
    for run, n in ((first, 2), (second, 3)):
        ended = store.get_run(run.id)
        assert (ended.status, ended.stage, ended.done, ended.total) == ("done", "count", n, n)
        assert ended.note == f"part-{n - 1}" and ended.path.is_dir()
        assert store.get_records(run.id, "count") == {
            f"part-{i}": {"square": i * i} for i in range(n)
        }


def test_a_mistake_is_told_in_its_own_words(store: Store) -> None:
    run = store.create_run("train", "t", {"how": "mistake"})
    work(store, support.worker_handlers.FAIL, WorkerOptions(once=True))
    ended = store.get_run(run.id)
    assert ended.status == "failed"
    assert ended.message == "The number of queries is 'many'; it must be a whole number."


def test_a_defect_is_a_sentence_here_and_a_traceback_in_the_log(store: Store) -> None:
    run = store.create_run("train", "t", {"how": "defect"})
    after = count_run(store, 1, kind="study")
    work(store, support.worker_handlers.FAIL, WorkerOptions(once=True))
    ended = store.get_run(run.id)
    assert ended.status == "failed"
    assert "(RuntimeError: tensor of shape (3, 4))" in ended.message
    assert "Traceback" not in ended.message and "\n" not in ended.message
    log = (ended.path / "run.log").read_text()
    assert "Traceback" in log and "second line" in log and "worker_handlers.py" in log
    assert store.get_run(after.id).status == "done"  # the queue goes on


def test_a_missing_part_fails_the_run_and_not_the_worker(store: Store) -> None:
    run = store.create_run("rl", "t", {})
    assert work(store, support.worker_handlers.FAIL, WorkerOptions(once=True)) == 1
    assert "no_such_module" in store.get_run(run.id).message
    other = store.create_run("rl", "t", {})
    work(store, support.worker_handlers.COUNT, WorkerOptions(once=True))
    assert "kind 'rl'" in store.get_run(other.id).message


def test_handlers_are_named_by_module_and_name() -> None:
    assert load_object("support.worker_handlers:COUNT") is support.worker_handlers.COUNT
    for bad in ("os.system", "os:", ":x", "os:a.b", "os:system('ls')"):
        with pytest.raises(InputError, match="module:NAME"):
            load_object(bad)
    with pytest.raises(NotFoundError, match="no 'nothing'"):
        load_object("support.worker_handlers:nothing")
    assert set(HANDLERS) == {"train", "study", "rl"}


# --- worker processes -------------------------------------------------------------------------


def test_killed_in_the_middle_it_goes_on_and_redoes_nothing(
    store: Store, start: Callable[..., subprocess.Popen]
) -> None:
    run = count_run(store, 12, pause=0.15)
    first = start("support.worker_handlers:COUNT")
    wait_for(lambda: len(store.record_keys(run.id, "count")) >= 3)
    first.send_signal(signal.SIGKILL)
    first.wait()
    finished = store.record_keys(run.id, "count")
    assert 3 <= len(finished) < 12 and store.get_run(run.id).status == "running"

    second = start("support.worker_handlers:COUNT", "--once")
    wait_until(store, run.id, "done")
    assert second.wait(30) == 0
    assert store.record_keys(run.id, "count") == [f"part-{i}" for i in range(12)]
    times = Counter(part for part, _ in effects(store))
    # Only the part in hand when the process died, not yet journaled, may have been begun twice.
    assert all(times[part] == 1 for part in finished)
    assert sum(times.values()) <= 13
    assert {pid for _, pid in effects(store)} == {first.pid, second.pid}


def test_a_cancel_reaches_a_handler_that_listens(
    store: Store, start: Callable[..., subprocess.Popen]
) -> None:
    run = count_run(store, 10_000, pause=0.05)
    worker = start("support.worker_handlers:COUNT")
    wait_for(lambda: store.get_run(run.id).done >= 2)  # progress is written while it runs
    store.request_cancel(run.id)
    wait_for(lambda: store.get_run(run.id).status == "cancelled", seconds=5)
    assert worker.poll() is None  # the process stays, ready for the next run
    after = count_run(store, 1, kind="study")
    wait_until(store, after.id, "done")


def test_a_cancel_ends_a_handler_that_cannot_listen(
    store: Store, start: Callable[..., subprocess.Popen]
) -> None:
    run = store.create_run("train", "t", {})
    worker = start("support.worker_handlers:SLEEP")
    wait_for(lambda: bool(store.get_records(run.id, "sleep")))
    child = store.get_records(run.id, "sleep")["child"]
    assert process_lives(child)
    store.request_cancel(run.id)
    wait_for(lambda: store.get_run(run.id).status == "cancelled", seconds=5)
    assert worker.wait(5) == 75
    wait_for(lambda: not process_lives(child), seconds=5)  # it takes its children with it
    assert store.record_keys(run.id, "sleep") == ["child", "worker"]  # what was journaled stays


def test_two_workers_share_the_queue_and_no_run(
    store: Store, start: Callable[..., subprocess.Popen]
) -> None:
    made = [count_run(store, 3, pause=0.05) for _ in range(6)]
    for _ in range(2):
        start("support.worker_handlers:COUNT", "--at-once", "2")
    for run in made:
        wait_until(store, run.id, "done")
    assert len(effects(store)) == 18  # 6 runs x 3 parts, none done twice


def test_an_idle_worker_leaves(store: Store, start: Callable[..., subprocess.Popen]) -> None:
    assert start("support.worker_handlers:COUNT", "--idle-exit", "0.1").wait(60) == 0


def test_a_wrong_option_is_a_sentence(store: Store) -> None:
    command = [sys.executable, "-m", "prism_core.worker", "--once", "--handlers", "nonsense"]
    ended = subprocess.run(
        command, env=os.environ | store.environment, cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr == "'nonsense' must have the form package.module:NAME.\n"


@pytest.mark.slow
def test_killed_and_resumed_on_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    with postgres_url() as url, Store(url, tmp_path) as store:
        jobs = Jobs(store, workers=1, handlers="support.worker_handlers:COUNT")
        try:
            jobs.start()
            file = str(tmp_path / "effects")
            run_id = jobs.submit("train", "t", {"n": 12, "file": file, "pause": 0.15})
            wait_for(lambda: len(store.record_keys(run_id, "count")) >= 3)
            os.kill(jobs.worker_pids[0], signal.SIGKILL)
            wait_until(store, run_id, "done")
            assert store.record_keys(run_id, "count") == [f"part-{i}" for i in range(12)]
            assert len(Path(file).read_text().splitlines()) <= 13
        finally:
            jobs.stop()


# --- the app's side ---------------------------------------------------------------------------


def test_jobs_start_a_worker_when_there_is_work(store: Store, jobs: Callable[[str], Jobs]) -> None:
    ours = jobs("support.worker_handlers:COUNT")
    time.sleep(0.3)
    assert ours.worker_pids == []
    run_id = ours.submit("train", "t", {"n": 2, "file": str(store.home / "effects")}, "ann")
    wait_until(store, run_id, "done")
    assert store.get_run(run_id, owner="ann").title == "t"
    assert len(ours.worker_pids) == 1 and ours.queue_position(run_id) is None
    assert "is done" in (store.home / "logs" / "worker.log").read_text()


def test_a_killed_worker_is_replaced_and_the_run_goes_on(
    store: Store, jobs: Callable[[str], Jobs]
) -> None:
    run = count_run(store, 12, pause=0.15)
    ours = jobs("support.worker_handlers:COUNT")
    wait_for(lambda: len(store.record_keys(run.id, "count")) >= 3)
    first = ours.worker_pids
    os.kill(first[0], signal.SIGKILL)
    wait_until(store, run.id, "done")
    assert len(ours.worker_pids) == 1 and ours.worker_pids != first
    assert len(effects(store)) <= 13


def test_one_at_a_time_with_a_queue(store: Store, jobs: Callable[[str], Jobs]) -> None:
    ours = jobs("support.worker_handlers:COUNT")
    spec = {"n": 10_000, "file": str(store.home / "effects"), "pause": 0.05}
    a, b, c = (ours.submit("train", title, spec) for title in "abc")
    wait_until(store, a, "running")
    assert [ours.queue_position(x) for x in (a, b, c)] == [0, 1, 2]
    ours.cancel(b)
    assert [ours.queue_position(x) for x in (a, b, c)] == [0, None, 1]
    ours.cancel(a)
    wait_until(store, c, "running")
    assert store.get_run(a).status == "cancelled" and len(ours.worker_pids) == 1


def test_cancel_and_resume_go_on_where_it_was(store: Store, jobs: Callable[[str], Jobs]) -> None:
    run = count_run(store, 12, pause=0.15)
    ours = jobs("support.worker_handlers:COUNT")
    wait_for(lambda: len(store.record_keys(run.id, "count")) >= 3)
    ours.cancel(run.id)
    wait_until(store, run.id, "cancelled")
    assert len(store.record_keys(run.id, "count")) < 12
    ours.resume(run.id)
    wait_until(store, run.id, "done")
    assert [part for part, _ in effects(store)] == [f"part-{i}" for i in range(12)]


def test_owners_cannot_cancel_or_resume_others(store: Store) -> None:
    ours = Jobs(store, workers=1)
    run_id = ours.submit("train", "t", {}, "ann")
    with pytest.raises(NotFoundError):
        ours.cancel(run_id, "bob")
    ours.cancel(run_id, "ann")
    with pytest.raises(NotFoundError):
        ours.resume(run_id, "bob")


def test_a_worker_that_hears_nothing_is_killed(store: Store, jobs: Callable[[str], Jobs]) -> None:
    run = store.create_run("train", "t", {})
    ours = jobs("support.worker_handlers:HOLD")
    wait_for(lambda: bool(store.get_records(run.id, "hold")))
    (pid,) = ours.worker_pids
    time.sleep(0.5)
    ours.cancel(run.id)
    wait_for(lambda: store.get_run(run.id).status == "cancelled", seconds=20)
    wait_for(lambda: not process_lives(pid), seconds=5)


def test_a_run_that_kills_every_worker_is_given_up(
    store: Store, jobs: Callable[[str], Jobs]
) -> None:
    run = store.create_run("train", "t", {"how": "die"})
    after = count_run(store, 1, kind="study")
    jobs("support.worker_handlers:FAIL")
    assert "5 times" in wait_until(store, run.id, "failed").message
    wait_until(store, after.id, "done")


def test_stop_ends_the_worker_and_the_next_start_goes_on(
    store: Store, jobs: Callable[[str], Jobs]
) -> None:
    run = count_run(store, 12, pause=0.15)
    ours = jobs("support.worker_handlers:COUNT")
    wait_for(lambda: len(store.record_keys(run.id, "count")) >= 3)
    (pid,) = ours.worker_pids
    ours.stop()
    assert not process_lives(pid)
    waiting = store.get_run(run.id)
    assert waiting.status == "queued" and waiting.takeovers == 0
    jobs("support.worker_handlers:COUNT")
    wait_until(store, run.id, "done")
    assert len(effects(store)) <= 13


APP = """
import sys, time
from pathlib import Path
from app.services.jobs import Jobs
from prism_core.storage import Store
jobs = Jobs(Store(), workers=1, handlers="support.worker_handlers:SLEEP")
jobs.start()
if sys.argv[1] == "leave":
    store, run_id = Store(), sys.argv[2]
    while not store.get_records(run_id, "sleep"):
        time.sleep(0.05)
    sys.exit()
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["killed", "leave"])
def test_the_worker_ends_with_the_app(store: Store, how: str) -> None:
    run = store.create_run("train", "t", {})
    app = subprocess.Popen(
        [sys.executable, "-c", APP, how, run.id], env=os.environ | store.environment, cwd=ROOT
    )
    wait_for(lambda: bool(store.get_records(run.id, "sleep")))
    pids = store.get_records(run.id, "sleep")
    if how == "killed":
        app.kill()
    assert app.wait(30) == (-9 if how == "killed" else 0)
    assert set(pids) == {"child", "worker"}
    wait_for(lambda: not any(process_lives(pid) for pid in pids.values()), seconds=20)
    wait_until(store, run.id, "queued")  # ready for the next start, and not counted as a crash
    assert store.get_run(run.id).worker_pid is None


@pytest.mark.parametrize("bad", ["0", "-1", "two", "17", "1.5"])
def test_a_wrong_number_of_workers_is_named(
    store: Store, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRISM_WORKERS", bad)
    with pytest.raises(InputError, match=f"PRISM_WORKERS is '{bad}'"):
        Jobs(store)


def test_the_queue_has_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.jobs.MAX_WAITING", 2)
    ours = Jobs(store, workers=1)
    first = ours.submit("train", "t", {})
    ours.submit("train", "t", {})
    with pytest.raises(InputError, match="2 runs are waiting"):
        ours.submit("train", "t", {})
    ours.cancel(first)
    ours.submit("train", "t", {})
    with pytest.raises(InputError, match="2 runs are waiting"):
        ours.resume(first)


def test_the_log_file_is_cut_while_a_child_writes(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs" / "w.log", max_bytes=10)
    with log.open() as child:
        for text in ("first piece.", "second piece.", "third piece.", "fourth piece.", "short"):
            child.write(text.encode())
            child.flush()
            log.rotate()
    pieces = [(tmp_path / "logs" / f"w.log{end}").read_bytes() for end in ("", ".1", ".2", ".3")]
    assert pieces == [b"short", b"fourth piece.", b"third piece.", b"second piece."]
    assert len(list((tmp_path / "logs").iterdir())) == 4
