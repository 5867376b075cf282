"""Handlers that real worker processes run in the tests; each leaves traces in files."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from pathlib import Path

from prism_core.errors import InputError
from prism_core.progress import Progress
from prism_core.storage import RunRow, Store


def count(run: RunRow, store: Store, progress: Progress) -> None:
    """Do `n` parts; each writes its key and this process's id to a file before it is journaled."""
    parts = [f"part-{i}" for i in range(run.spec["n"])]
    done = set(store.get_records(run.id, "count"))
    for i, key in enumerate(parts):
        progress.check()
        if key in done:
            continue
        with Path(run.spec["file"]).open("a") as file:
            file.write(f"{key} {os.getpid()}\n")
        store.put_records(run.id, "count", {key: {"square": i * i}})
        progress.update("count", i + 1, len(parts), key)
        time.sleep(run.spec.get("pause", 0.0))


def sleep(run: RunRow, store: Store, progress: Progress) -> None:
    """One long call that never looks at the cancel event, with a child process."""
    child = subprocess.Popen(["sleep", "120"])
    store.put_records(run.id, "sleep", {"child": child.pid, "worker": os.getpid()})
    time.sleep(120)


def hold(run: RunRow, store: Store, progress: Progress) -> None:
    """One long C call that never lets another thread of the process run."""
    store.put_records(run.id, "hold", {"begun": True})
    sum(range(10**12))


def fail(run: RunRow, store: Store, progress: Progress) -> None:
    """Fail in the way that the spec asks for."""
    if run.spec["how"] == "mistake":
        raise InputError("The number of queries is 'many'; it must be a whole number.")
    if run.spec["how"] == "die":
        os.kill(os.getpid(), 9)
    if run.spec["how"] == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checkpoint.safetensors")
    raise RuntimeError("tensor of shape (3, 4)\nsecond line")


COUNT = {"train": count, "study": count}
SLEEP = {"train": "support.worker_handlers:sleep", "study": count}
HOLD = {"train": hold}
FAIL = {"train": fail, "study": count, "rl": "no_such_module:run"}
