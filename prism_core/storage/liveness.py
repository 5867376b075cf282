"""Whether the worker that has a run still lives.

On this machine the process table says so at once; for any other machine the heartbeat does. The
host's name includes its process namespace, so that two containers do not read each other's pids.
"""

from __future__ import annotations

import os
import socket

import psutil

from prism_core.storage.run_row import RunRow

STALE_SECONDS = 20.0
"""A worker silent for longer than this is taken for dead."""


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
