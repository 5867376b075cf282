"""Stores, real worker processes and the app's side of them, for the tests of workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.services.jobs import Jobs
from prism_core.storage import RunRow, Store
from support.paths import PYTHONPATH, ROOT


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.delenv("PRISM_DATABASE_URL", raising=False)
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    with Store(home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def start(store: Store) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start a real worker process; all are killed at the end."""
    begun: list[subprocess.Popen] = []

    def begin(handlers: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "prism_core.worker", "--handlers", handlers, *options]
        begun.append(subprocess.Popen(command, env=os.environ | store.environment, cwd=ROOT))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.wait()


@pytest.fixture
def jobs(store: Store) -> Iterator[Callable[[str], Jobs]]:
    begun: list[Jobs] = []

    def begin(handlers: str) -> Jobs:
        begun.append(Jobs(store, workers=1, handlers=handlers))
        begun[-1].start()
        return begun[-1]

    yield begin
    for one in begun:
        one.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until it is true; the generous limit is for busy machines."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def wait_until(store: Store, run_id: str, status: str) -> RunRow:
    wait_for(lambda: store.get_run(run_id).status == status)
    return store.get_run(run_id)


def count_run(store: Store, n: int, pause: float = 0.0, kind: str = "train") -> RunRow:
    file = store.home / "effects"
    return store.create_run(kind, "Counting", {"n": n, "file": str(file), "pause": pause})


def effects(store: Store) -> list[tuple[str, int]]:
    """What handlers did: (part, process), in order."""
    file = store.home / "effects"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(part, int(pid)) for part, pid in (line.split() for line in lines)]
