"""A study on a real local Ray cluster with two workers, one of which is killed."""

from __future__ import annotations

import builtins
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from prism_core.errors import CancelledError, InputError, NotFoundError
from prism_core.models.local import LocalModel
from prism_core.progress import Progress, ProgressReport
from prism_core.storage import Store, pack
from prism_core.study.ray_executor import RayExecutor, import_ray
from prism_core.study.records import read_study
from prism_core.study.run import StudyRun
from prism_core.study.spec import StudySpec
from prism_core.study.table import Study


def test_without_ray_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("ray"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install ray==2\.60\.0"):
        import_ray()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def spec(tiny: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> StudySpec:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.model.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return StudySpec(
        tasks=("knowledge", "safety"),
        personas=("math", "critic"),
        lengths=("min", "long"),
        n_per_category=4,
        max_new_tokens=8,
        scoring="cloze",
        models=(str(folder),),
    )


def run(folder: Path, spec: StudySpec, progress: Progress | None = None) -> Study:
    folder.mkdir()
    with Store(f"sqlite:///{folder}/s.sqlite3", home=folder) as store:
        row = store.create_run("study", spec.name, pack(spec), folder=folder)
        StudyRun(row, store, progress or Progress()).run()
        return read_study(store, row.id)


def workers() -> list[psutil.Process]:
    """Workers in the middle of a batch; Ray names a worker after what it does."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if words[0].startswith("ray::answer"):
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_worker_s_batch_is_answered_by_another(
    cluster: Any, spec: StudySpec, tmp_path: Path
) -> None:
    local = run(tmp_path / "local", spec)
    killed: list[int] = []
    ended = threading.Event()

    def kill() -> None:
        while not ended.is_set() and not killed:
            for process in workers()[:1]:
                process.kill()
                killed.append(process.pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        remote = run(tmp_path / "ray", replace(spec, executor="ray"))
    finally:
        ended.set()
        killer.join()
    assert killed, "no worker was caught in the middle of a batch"
    assert remote.finished
    pd.testing.assert_frame_equal(local.rows, remote.rows, atol=2e-6)
    assert list(local.rows["text"]) == list(remote.rows["text"])
    assert cluster.is_initialized(), "a cluster that was there before stays"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_cancel_and_failure_reach_the_workers(
    cluster: Any, spec: StudySpec, tmp_path: Path
) -> None:
    asked = 0.0

    def stop(report: ProgressReport) -> None:
        nonlocal asked
        if report.stage == "answering" and not progress.cancel.is_set():
            asked = time.monotonic()
            progress.cancel.set()

    progress = Progress(stop)
    with pytest.raises(CancelledError):
        run(tmp_path / "stopped", replace(spec, executor="ray"), progress)
    assert time.monotonic() - asked < 2.0
    executor = RayExecutor({}, spec)
    with pytest.raises(NotFoundError, match="no model at"):
        executor.facts(str(tmp_path / "nothing"))
