"""Run a stranger's Python function on given arguments, in a process that can do little else.

1. A fresh isolated interpreter (`python -I`) with an empty environment in an empty folder.
2. The child limits itself before it reads the code: processor time, memory, file size, open files,
   no further processes; as root it becomes `nobody` first; where the kernel lets it, it leaves the
   network and the other processes behind. An audit hook refuses files, sockets and processes.
3. The parent kills it when the wall clock says so, and reads a bounded file of results.
4. The expected results never enter the child: it computes, and the parent compares.
Layers because none is perfect. It stops what a model may write, not a determined attacker: a public
service should put a container around the app as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_CHILD = Path(__file__).with_name("sandbox_child.py")
MAX_CODE_CHARACTERS = 50_000
"""Longer programs are not run."""


@dataclass(frozen=True)
class Limits:
    """What a run may use."""

    seconds: float = 5.0
    """Wall-clock time; processor time is limited to the next whole second."""
    memory_bytes: int = 512_000_000
    """Address space."""
    result_bytes: int = 200_000
    """Size of any file the run writes, its results included."""


@dataclass(frozen=True)
class SandboxResult:
    """What came of a run."""

    outcome: Literal["done", "error", "timeout", "refused"]
    values: tuple[Any, ...] = ()
    """The function's results as JSON values, one for each call."""
    error: str = ""


def run_function(
    code: str, entry: str, calls: Sequence[Sequence[Any]], limits: Limits | None = None
) -> SandboxResult:
    """Define `code` in a sandbox and call its function `entry` with each list of arguments.

    The arguments of each of `calls` are JSON values.
    """
    limits = limits or Limits()
    if os.name != "posix":
        return SandboxResult("refused", error="Code is run only where process limits exist (Unix).")
    if len(code) > MAX_CODE_CHARACTERS:
        return SandboxResult("refused", error=f"The code has {len(code):,} characters.")
    request = json.dumps(
        {
            "code": code,
            "entry": entry,
            "calls": [list(arguments) for arguments in calls],
            "cpu_seconds": int(limits.seconds) + 1,
            "memory_bytes": limits.memory_bytes,
            "file_bytes": limits.result_bytes,
        }
    )
    with (
        tempfile.TemporaryDirectory(prefix="prism-sandbox-") as folder,
        tempfile.TemporaryFile() as results,
        tempfile.TemporaryFile() as asked,
    ):
        asked.write(request.encode("utf-8", "surrogatepass"))
        asked.seek(0)
        timed_out = _run_child(folder, asked, results, limits.seconds)
        if timed_out:
            return SandboxResult("timeout", error=f"It ran longer than {limits.seconds:g} s.")
        results.seek(0)
        return _read(results.read(limits.result_bytes + 1), len(calls))


def _run_child(folder: str, asked: Any, results: Any, seconds: float) -> bool:
    """Run the child to its end, or kill its whole group; say whether it took too long."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(_CHILD)],
        stdin=asked,
        stdout=results,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={},
        close_fds=True,
        start_new_session=True,
    )
    try:
        process.wait(seconds + 1.0)  # a second for the interpreter to start
        return False
    except subprocess.TimeoutExpired:
        return True
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def _read(written: bytes, calls: int) -> SandboxResult:
    """Read the child's report, which the stranger's code may have spoilt."""
    try:
        report = json.loads(written)
    except (ValueError, RecursionError):
        report = None
    if isinstance(report, dict):
        if "error" in report:
            return SandboxResult("error", error=str(report["error"])[:200])
        values = report.get("values")
        if isinstance(values, list) and len(values) == calls:
            return SandboxResult("done", tuple(values))
    return SandboxResult("error", error="It ended without results.")
