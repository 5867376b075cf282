"""Starts and watches the worker process, and hands runs to it through the store.

The app never works on a run itself. `Jobs` keeps a worker alive while runs wait, starts another
when one dies, and ends it with the app; a worker whose app was killed notices and ends too. What
was interrupted goes on by itself at the next start, since the store knows it.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import prism_core
from app.services.event_log import EventLog
from app.services.quotas import Quotas
from app.services.run_limits import RunLimits
from prism_core.errors import InputError, StorageError
from prism_core.storage import RunRow, Store
from prism_core.storage.folders import make_folder
from prism_core.storage.liveness import this_host
from prism_core.worker.watch import EXIT_CANCELLED

MAX_WAITING = 100
"""More runs than this may not wait in the queue."""
MAX_WORKERS = 16
IDLE_EXIT_SECONDS = 300.0
"""A worker without work leaves after this time, and gives its memory back."""
MAX_LOG_BYTES = 5_000_000
LOG_PIECES = 3
"""How many older pieces stay beside the log: `worker.log.1` is the newest of them."""
CANCEL_SECONDS = 3.0
"""A worker that has not obeyed a cancel by then is killed."""
FROZEN_SECONDS = 300.0
"""A worker that has shown no sign of life for so long is killed."""
_TICK_SECONDS = 1.0
_STOP_SECONDS = 3.0
_QUICK_DEATH_SECONDS = 5.0
_FREE_RESTARTS = 4
_LONGEST_PAUSE = 60.0
_ROOT = Path(prism_core.__file__).resolve().parent.parent

_log = logging.getLogger(__name__)


class Jobs:
    """The app's side of the queue; its methods may be called from any thread."""

    def __init__(
        self,
        store: Store,
        workers: int | None = None,
        handlers: str | None = None,
        quotas: Quotas | None = None,
        log: EventLog | None = None,
    ) -> None:
        """Prepare; nothing is started before `start`.

        Args:
            store: where the runs are.
            workers: how many processes at most; by default `PRISM_WORKERS`, or 1.
            handlers: `module:NAME` of other handlers than the worker's own.
            quotas: what one client may have; by default nothing is counted.
            log: where a run that is over a quota is written down.

        Raises:
            InputError: the number of workers is not allowed.
        """
        self._store = store
        self.limits = RunLimits(store, quotas or Quotas(), log)
        self._workers = _check_workers(workers)
        self._handlers = handlers
        self._session = secrets.token_hex(8)
        self._log_file = LogFile(store.home / "logs" / "worker.log")
        self._children: list[_Child] = []
        self._quick_deaths = 0
        self._pause_until = 0.0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch: workers start whenever there is something to do."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._watch, name="jobs", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the workers; their runs keep their place in the queue for the next start."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        with self._lock:
            for child in self._children:
                child.end()
                try:
                    self._store.release(child.pid)
                except StorageError:
                    # The next worker sees that the process is gone and takes the run over.
                    _log.exception("The runs of worker %d could not be handed back", child.pid)
            self._children.clear()
        atexit.unregister(self.stop)

    def submit(
        self, kind: str, title: str, spec: Mapping[str, Any], owner: str = "", client: str = ""
    ) -> str:
        """Put a new run of a visitor and a client in the queue and return its id.

        Raises:
            InputError: a value is not allowed, or too many runs wait already.
        """
        with self.limits.one_more(client):
            self._check_room()
            run = self._store.create_run(kind, title, spec, owner)
            self.limits.note(run.id, client)
        self._wake.set()
        return run.id

    def cancel(self, run_id: str, owner: str | None = None) -> RunRow:
        """Stop a run; one at work stops within two seconds.

        Raises:
            NotFoundError: there is none, or it is another visitor's.
        """
        return self._store.request_cancel(run_id, owner)

    def resume(self, run_id: str, owner: str | None = None, client: str = "") -> RunRow:
        """Let a run that was cancelled, failed or is stuck go on where it was.

        Raises:
            NotFoundError: there is none, or it is another visitor's.
            InputError: it is waiting, at work or done, or too many runs wait already.
        """
        with self.limits.one_more(client):
            self._check_room()
            before = self._store.get_run(run_id, owner)
            run = self._store.requeue(run_id, owner)
            self.limits.note(run.id, client)
        if not before.is_ended:
            self._end_frozen(before)
        self._wake.set()
        return run

    def queue_position(self, run_id: str) -> int | None:
        """Return 0 if the run is at work, 1 if it starts next, ...; None if it has ended."""
        return self._store.queue_position(run_id)

    @property
    def worker_pids(self) -> list[int]:
        """The processes of the workers that live."""
        with self._lock:
            return [child.pid for child in self._children if child.exit_code is None]

    def _check_room(self) -> None:
        if len(self._store.list_runs(statuses=["queued"], limit=MAX_WAITING)) >= MAX_WAITING:
            raise InputError(f"{MAX_WAITING} runs are waiting already. Try again when some ended.")

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._lock:
                    self._tick()
            except (StorageError, OSError):
                _log.exception("Watching the workers failed; trying again")
            self._wake.wait(_TICK_SECONDS)
            self._wake.clear()

    def _tick(self) -> None:
        self._bury_dead()
        self._kill_deaf()
        self._stop_overdue()
        self._log_file.rotate()
        if len(self._children) < self._workers and time.monotonic() >= self._pause_until:
            if self._stopping.is_set() or not self._store.has_work():
                return
            self._children.append(_Child(self._command(), self._environment(), self._log_file))

    def _bury_dead(self) -> None:
        """Forget workers that ended. One that dies at once makes the next wait, ever longer."""
        for child in [one for one in self._children if one.exit_code is not None]:
            child.end()
            self._children.remove(child)
            failed = child.exit_code not in (0, EXIT_CANCELLED)
            quick = failed and time.monotonic() - child.started < _QUICK_DEATH_SECONDS
            self._quick_deaths = self._quick_deaths + 1 if quick else 0
            # The first few restart at once: one run that crashes must not hold up the others.
            excess = self._quick_deaths - _FREE_RESTARTS
            pause = 2.0**excess if excess > 0 else 0.0
            self._pause_until = time.monotonic() + min(pause, _LONGEST_PAUSE)

    def _kill_deaf(self) -> None:
        """End workers that did not obey a cancel, or show no sign of life: their watch is stuck.

        A run that nobody cancelled is taken over by the next worker.
        """
        mine = {child.pid: child for child in self._children}
        now = time.time()
        for run in self._store.list_runs(statuses=["running", "cancelling"]):
            child = mine.get(run.worker_pid or 0)
            if child is None or run.worker_host != this_host():
                continue
            if run.status == "cancelling" and now - run.updated > CANCEL_SECONDS:
                child.end(patience=0.0)
                self._store.finish(run.id, "cancelled", worker_id=run.worker)
            elif now - (run.heartbeat or run.updated) > FROZEN_SECONDS:
                child.end(patience=0.0)

    def _stop_overdue(self) -> None:
        """Fail runs whose time is up; their worker sees it with its next sign of life."""
        if not self.limits.has_clock:
            return
        for run in self.limits.overdue(self._store.list_runs(statuses=["running"])):
            sentence = self.limits.overdue_sentence()
            if self._store.finish(run.id, "failed", sentence, worker_id=run.worker):
                self.limits.note_overdue(run.id)

    def _end_frozen(self, run: RunRow) -> None:
        """End the worker of a stuck run, if it is ours: it holds a place."""
        with self._lock:
            for child in self._children:
                if child.pid == run.worker_pid and run.worker_host == this_host():
                    child.end(patience=0.0)

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "prism_core.worker"]
        command += ["--parent-pid", str(os.getpid()), "--at-once", str(self._workers)]
        command += ["--idle-exit", str(IDLE_EXIT_SECONDS), "--session", self._session]
        return command + (["--handlers", self._handlers] if self._handlers else [])

    def _environment(self) -> dict[str, str]:
        paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
        ours = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
        return os.environ | ours | self._store.environment


class _Child:
    """One worker process in a session of its own, so that it and its children end together."""

    def __init__(self, command: list[str], environment: dict[str, str], log: LogFile) -> None:
        with log.open() as output:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started = time.monotonic()
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with, or None while it lives; reaps the process."""
        return self._process.poll()

    def end(self, patience: float = _STOP_SECONDS) -> None:
        """End it and whatever it has started: gently at first, then by force."""
        if patience > 0 and self.exit_code is None:
            self._process.terminate()
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                _log.warning("Worker %d did not end when asked; killing it", self.pid)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self._process.wait()


class LogFile:
    """The workers' output: any of them appends, the process that holds this object cuts."""

    def __init__(self, path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def open(self) -> BinaryIO:
        """Open the file for a child's output; close it here once the child has it."""
        make_folder(self.path.parent)
        return self.path.open("ab")

    def rotate(self) -> None:
        """Move the content aside once the file is too long.

        The file is copied and emptied, not renamed: the children keep their handle, and since it
        appends, they go on at the new end.
        """
        if not self.path.exists() or self.path.stat().st_size <= self._max_bytes:
            return
        for number in range(LOG_PIECES - 1, 0, -1):
            older = self._piece(number)
            if older.exists():
                older.replace(self._piece(number + 1))
        shutil.copyfile(self.path, self._piece(1))
        with self.path.open("r+b") as file:
            file.truncate()

    def _piece(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _check_workers(workers: int | None) -> int:
    text = str(workers) if workers is not None else os.environ.get("PRISM_WORKERS", "") or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise InputError(f"PRISM_WORKERS is {text!r}; it must be a number from 1 to {MAX_WORKERS}.")
    return int(text)
