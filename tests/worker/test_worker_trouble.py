"""Frozen workers, full disks, two apps on one home, and a hundred kills."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import psutil
import pytest
import sqlalchemy as sa
import support.worker_handlers
from support.worker_parts import count_run, effects, jobs, start, store, wait_for, wait_until

from app.services.jobs import Jobs
from prism_core.storage import Store
from prism_core.storage.liveness import trouble
from prism_core.storage.schema import runs
from prism_core.storage.upkeep import check_store
from prism_core.worker.process import WorkerOptions, work

__all__ = ["jobs", "start", "store"]

COUNT = "support.worker_handlers:COUNT"


def test_a_full_disk_is_a_sentence(store: Store) -> None:
    run = store.create_run("train", "t", {"how": "full"})
    work(store, support.worker_handlers.FAIL, WorkerOptions(once=True))
    ended = store.get_run(run.id)
    assert ended.status == "failed"
    assert "is full. Free some space, then resume it." in ended.message


def test_a_frozen_worker_is_said_and_cured_by_trying_again(
    store: Store, jobs: Callable[[str], Jobs]
) -> None:
    run = count_run(store, 40, pause=0.05)
    ours = jobs(COUNT)
    wait_for(lambda: len(store.record_keys(run.id, "count")) > 3)
    (pid,) = ours.worker_pids
    psutil.Process(pid).suspend()
    with store.database.write() as connection:  # as if half a minute had passed
        changed = sa.update(runs).where(runs.c.id == run.id).values(heartbeat=time.time() - 30)
        connection.execute(changed)
    assert "not answered for 30 s" in trouble(store.get_run(run.id), store.home, time.time())
    ours.resume(run.id)
    ended = wait_until(store, run.id, "done")
    assert trouble(ended, store.home, time.time()) == ""
    assert not psutil.pid_exists(pid)
    # Nothing that was journaled is done again; the part under way may be.
    assert max(Counter(part for part, _ in effects(store)).values()) <= 2
    assert len(store.record_keys(run.id, "count")) == 40


def test_two_apps_on_one_home_share_the_queue(store: Store, jobs: Callable[[str], Jobs]) -> None:
    mine = [count_run(store, 6, pause=0.02) for _ in range(4)]
    with Store(home=store.home) as second:
        first_app, other = jobs(COUNT), Jobs(second, workers=1, handlers=COUNT)
        other.start()
        try:
            theirs = [second.get_run(other.submit("train", "t", run.spec)) for run in mine]
            for run in [*mine, *theirs]:
                wait_until(store, run.id, "done")
        finally:
            other.stop()
    assert first_app.worker_pids  # it outlives the other app
    done = Counter(part for part, _ in effects(store))
    assert done == {f"part-{i}": 8 for i in range(6)}  # each part of each run once


def wait_for_one_more(store: Store, worker: subprocess.Popen) -> None:
    before = len(effects(store))
    wait_for(lambda: len(effects(store)) > before or worker.poll() is not None)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_hundred_random_kills_lose_and_repeat_nothing(
    store: Store, start: Callable[..., subprocess.Popen]
) -> None:
    """Kill -9 at random moments; each worker belongs to another start of the app."""
    n, rng = 3_000, random.Random(19)
    run = count_run(store, n, pause=0.002)
    seen: list[str] = []
    for kill in range(100):
        worker = start(COUNT, "--once", "--session", f"start-{kill}")
        wait_for_one_more(store, worker)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        kept = store.record_keys(run.id, "count")
        assert kept[: len(seen)] == seen, "a committed record was lost"
        seen = kept
    assert len(seen) < n, "every kill has to hit a run at work"
    assert start(COUNT, "--once", "--session", "the last").wait(300) == 0
    assert store.get_run(run.id).status == "done"
    assert store.record_keys(run.id, "count") == [f"part-{i}" for i in range(n)]
    repeated = Counter(part for part, _ in effects(store))
    # A part that was done and not yet journaled when the kill came is done again, and no other.
    assert sum(repeated.values()) - n <= 100 and max(repeated.values()) <= 3
    assert check_store(store).problems == ()
