"""Run a stranger's Python function on given arguments, in a process that can do little else.

1. The kernel confines a fresh isolated interpreter before it runs a line (`confinement.py`): it may
   read Python's library, and has no network, no `/proc`, no signals and no second process.
2. The child loads the modules that solutions use, and limits itself before it reads the code:
   processor time, memory, file size, no new file descriptor of any sort, no process; root becomes
   `nobody`. An audit hook says in Python's own words what the kernel would refuse anyway.
3. The parent reads a bounded report, and kills the child when the wall clock says so.
4. The expected results never enter the child: it computes, and the parent compares.
Where the kernel cannot confine a process, the other layers have to do for the owner of a machine;
a public copy, whose strangers may be determined, runs no code there.
"""

from __future__ import annotations

import json
import os
import selectors
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from prism_core.checks.confinement import start, why_not
from prism_core.errors import PrismError

_CHILD = Path(__file__).with_name("sandbox_child.py")
MAX_CODE_CHARACTERS = 50_000
"""Longer programs are not run."""


class SandboxError(PrismError, RuntimeError):
    """Code may not be run here; the message says what is missing."""


@dataclass(frozen=True)
class Limits:
    """What a run may use."""

    seconds: float = 5.0
    """Wall-clock time; processor time is limited to the next whole second."""
    memory_bytes: int = 512_000_000
    """Address space."""
    result_bytes: int = 200_000
    """Size of the run's report."""


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

    Raises:
        SandboxError: this is a public copy, and the kernel cannot confine the code.
    """
    limits = limits or Limits()
    if os.name != "posix":
        return SandboxResult("refused", error="Code is run only where process limits exist (Unix).")
    if len(code) > MAX_CODE_CHARACTERS:
        return SandboxResult("refused", error=f"The code has {len(code):,} characters.")
    reason = why_not()
    if reason and os.environ.get("PRISM_PUBLIC", "").strip() == "1":
        raise SandboxError(f"A public copy runs code only if the kernel confines it: {reason}.")
    request = {
        "code": code,
        "entry": entry,
        "calls": [list(arguments) for arguments in calls],
        "cpu_seconds": int(limits.seconds) + 1,
        "memory_bytes": limits.memory_bytes,
        "file_bytes": limits.result_bytes,
    }
    with tempfile.TemporaryDirectory(prefix="prism-sandbox-") as folder:
        asked = os.path.join(folder, "request.json")
        with open(asked, "w", encoding="ascii") as file:
            json.dump(request, file)
        readable = [str(_CHILD), asked]
        with start([str(_CHILD), asked], folder, readable, confined=not reason) as output:
            # A second for the interpreter to start.
            written = _read_bounded(output, limits.result_bytes + 1, limits.seconds + 1.0)
    if written is None:
        return SandboxResult("timeout", error=f"It ran longer than {limits.seconds:g} s.")
    return _result(written, len(calls))


def _read_bounded(output: IO[bytes], most: int, seconds: float) -> bytes | None:
    """Read until the end or `most` bytes, or return None when the time is over."""
    end, parts, size = time.monotonic() + seconds, [], 0
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while size < most:
            left = end - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            part = os.read(output.fileno(), min(65_536, most - size))
            if not part:
                break
            parts.append(part)
            size += len(part)
    return b"".join(parts)


def _result(written: bytes, calls: int) -> SandboxResult:
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
