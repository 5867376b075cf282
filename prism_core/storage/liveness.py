"""Whether the worker that has a run still lives.

On this machine the process table says so at once; for any other machine the heartbeat does. The
host's name includes its process namespace, so that two containers do not read each other's pids.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import psutil

from prism_core.storage.run_row import ACTIVE, RunRow

STALE_SECONDS = 20.0
"""A worker silent for longer than this is taken for dead."""
LOW_DISK_BYTES = 50_000_000
"""With less free space than this the disk is called full."""


def this_host() -> str:
    """Name the machine, and on Linux its process namespace."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_lives(pid: int) -> bool:
    """Whether a process of this machine exists and is more than a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def worker_lives(run: RunRow, now: float) -> bool:
    """Whether the worker of a running run shows signs of life at time `now`."""
    if run.heartbeat is None or now - run.heartbeat > STALE_SECONDS:
        return False
    if run.worker_pid is not None and run.worker_host == this_host():
        return process_lives(run.worker_pid)
    return True


def worker_may_obey(run: RunRow, now: float) -> bool:
    """Whether asking the worker to stop can have an effect.

    Unlike `worker_lives` this trusts a process of this machine that is there but silent: it may
    be busy in one long call, and has to be stopped, not forgotten.
    """
    if run.worker_pid is not None and run.worker_host == this_host():
        return process_lives(run.worker_pid)
    return worker_lives(run, now)


def is_silent(run: RunRow, now: float) -> bool:
    """Whether a run is at work by its status, and nobody has shown a sign of life for long."""
    since = run.heartbeat or run.updated
    return run.status in ACTIVE and now - since > STALE_SECONDS


def trouble(run: RunRow, home: Path, now: float) -> str:
    """Return what keeps an unfinished run from going on, and what helps, or ''.

    `home` is the store's folder, on whose disk everything is written.
    """
    if run.is_ended:
        return ""
    try:
        free = shutil.disk_usage(home).free
    except OSError as error:
        return f"The folder of the store cannot be reached: {error.strerror or error}."
    if free < LOW_DISK_BYTES:
        return (
            f"The disk of the store is full: {free / 1e6:.0f} MB are left. What was finished is "
            "kept. Once there is space again, the run goes on by itself, or with 'Try again'."
        )
    if is_silent(run, now):
        silent = now - (run.heartbeat or run.updated)
        return (
            f"The process that does the work has not answered for {silent:.0f} s: it may be frozen "
            "or gone. What was finished is kept; 'Try again' ends it and goes on from there."
        )
    return ""
