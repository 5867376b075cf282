"""The process that does the work: `python -m prism_core.worker`.

It takes runs from the store one after another and calls the handler of each run's kind. Beside the
handler a `RunWatch` writes progress and heartbeats, and passes a cancel on. Handlers journal what
they finish, so a worker may die at any moment and nothing is lost.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prism_core.errors import CancelledError, InputError, NotFoundError, PrismError, StorageError
from prism_core.progress import Progress
from prism_core.storage import RunRow, RunStatus, Store
from prism_core.storage.folders import make_folder
from prism_core.worker.watch import RunWatch, is_orphaned

HANDLERS: Mapping[str, str] = {
    "train": "prism_core.prism.pipeline:run_training",
    "study": "prism_core.study.run:do_study",
    "rl": "prism_core.rl.run:run_rl",
}
"""Kind of run -> the function that does it, imported when it is first needed."""

Handler = Callable[[RunRow, Store, Progress], None]
"""Does a run from its spec and its records; raises `CancelledError` when told to stop."""
Handlers = Mapping[str, str | Handler]

LOG_NAME = "run.log"
"""The file in a run's folder that says what went wrong, for developers."""
_POLL_SECONDS = 0.5
_RETRY_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker behaves."""

    once: bool = False
    """Leave as soon as there is nothing to take."""
    idle_exit: float | None = None
    """Leave after this many seconds without work; None stays for ever."""
    at_once: int = 1
    """How many runs may be at work on this machine, all workers together."""
    parent_pid: int | None = None
    session: str = ""
    """The start of the app that started this worker."""


def work(store: Store, handlers: Handlers = HANDLERS, options: WorkerOptions | None = None) -> int:
    """Take runs and do them until the options say to leave; return how many there were.

    A handler that does not stop soon after a cancel takes the whole process with it (see
    `RunWatch`), so call this only in a process of its own.

    Raises:
        StorageError: with `once`, the store failed; otherwise the worker waits and tries again.
    """
    options = options or WorkerOptions()
    worker_id = f"{os.getpid()}-{secrets.token_hex(8)}"
    count, idle_since = 0, time.monotonic()
    while not is_orphaned(options.parent_pid):
        run = _claim(store, worker_id, options)
        if run is not None:
            _do_run(run, store, handlers, worker_id, options.parent_pid)
            count, idle_since = count + 1, time.monotonic()
            continue
        idle = time.monotonic() - idle_since
        if options.once or (options.idle_exit is not None and idle >= options.idle_exit):
            break
        time.sleep(_POLL_SECONDS)
    return count


def _claim(store: Store, worker_id: str, options: WorkerOptions) -> RunRow | None:
    try:
        return store.claim_next(worker_id, options.at_once, options.session)
    except StorageError:
        if options.once:
            raise
        _log.exception("The store does not answer; trying again")
        time.sleep(_RETRY_SECONDS)
        return None


def _do_run(
    run: RunRow, store: Store, handlers: Handlers, worker_id: str, parent_pid: int | None
) -> None:
    _log.info("Run %s (%s) begins", run.id, run.kind)
    with RunWatch(run.id, store, worker_id, parent_pid) as watch:
        status, message = _call_handler(run, store, handlers, watch.progress)
        watch.end(status, message)
    _log.info("Run %s is %s", run.id, status)


def _call_handler(
    run: RunRow, store: Store, handlers: Handlers, progress: Progress
) -> tuple[RunStatus, str]:
    """Do the run; return how it ended, and a sentence for people if it failed."""
    try:
        make_folder(run.path)
        _find_handler(run.kind, handlers)(run, store, progress)
        return "done", ""
    except CancelledError:
        return "cancelled", ""
    except PrismError as error:
        _write_log(run)
        return "failed", str(error)
    except MemoryError:
        _write_log(run)
        return "failed", "The memory ran out. Make the run smaller, then resume it."
    except Exception as error:
        # The outermost border of a run: a defect must not stop the queue.
        _write_log(run)
        if _is_full(error):
            return "failed", f"The disk of {store.home} is full. Free some space, then resume it."
        lines = str(error).strip().splitlines()
        what = ": ".join([type(error).__name__, *lines[:1]])
        return "failed", (
            f"Something went wrong that should not have ({what}). "
            f"What was finished is kept; {LOG_NAME} in the run's folder has the details."
        )


def _is_full(error: Exception) -> bool:
    """Whether a disk or a quota has no room left, in the words of the system or of a library."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return os.strerror(errno.ENOSPC) in str(error)


def _find_handler(kind: str, handlers: Handlers) -> Handler:
    if kind not in handlers:
        raise NotFoundError(f"No part of this installation can do a run of the kind '{kind}'.")
    handler = handlers[kind]
    if isinstance(handler, str):
        found: Handler = load_object(handler)
        return found
    return handler


def load_object(path: str) -> Any:
    """Import `package.module:NAME`; only code and the command line may say what `path` is.

    Raises:
        InputError: it does not have that form.
        NotFoundError: the module has no such name.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name.isidentifier():
        raise InputError(f"{path!r} must have the form package.module:NAME.")
    module = importlib.import_module(module_name)
    if not hasattr(module, name):
        raise NotFoundError(f"The module {module_name} has no '{name}'.")
    return getattr(module, name)


def _write_log(run: RunRow) -> None:
    """Append the current traceback to the run's log file, and to the worker's own."""
    text = traceback.format_exc()
    _log.error("Run %s failed:\n%s", run.id, text)
    try:
        with (run.path / LOG_NAME).open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{text}\n")
    except OSError as error:
        _log.error("The log in %s cannot be written: %s", run.folder, error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m prism_core.worker", description=main.__doc__)
    parser.add_argument("--once", action="store_true", help="leave when nothing is waiting")
    parser.add_argument("--idle-exit", type=float, help="leave after so many seconds without work")
    parser.add_argument("--at-once", type=int, default=1, help="runs at work on this machine")
    parser.add_argument("--parent-pid", type=int, help="leave when this parent has died")
    parser.add_argument("--session", default="", help="which start of the app this is")
    parser.add_argument("--handlers", help="module:NAME of a dict from kind to handler")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    options = WorkerOptions(
        given.once, given.idle_exit, given.at_once, given.parent_pid, given.session
    )
    try:
        handlers = load_object(given.handlers) if given.handlers else HANDLERS
        with Store() as store:
            try:
                work(store, handlers, options)
            except KeyboardInterrupt:
                # Stopped on purpose: the run keeps its place in the queue.
                store.release(os.getpid())
                return 130
    except PrismError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
