r"""Is the mathematics right? By `math-verify`, which knows that 1/2, 0.5 and \frac{1}{2} are one.

Plain numbers are compared without it. Formulas are read by a helper process that lives on between
calls: a formula such as 9^{9^{9^9}} can keep an algebra system busy for ever, and only a process
can be stopped for sure. Only the end of a long answer is read: the answer stands there.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prism_core.checks.check import Grade
from prism_core.checks.numeric import final_number, parse_number
from prism_core.errors import PrismError

READ_CHARACTERS = 3_000
"""How much of an answer's end is read."""
SECONDS = 5.0
"""How much processor time one comparison may take."""
_WALL_SECONDS = 60.0
_CHILD = Path(__file__).with_name("maths_child.py")


class MissingPackageError(PrismError, ImportError):
    """A check needs a package that is not installed; the message says how to install it."""


def grade_maths(options: Mapping[str, Any], text: str) -> Grade:
    """Compare an answer with `answer`, a formula in LaTeX or a number.

    Raises:
        MissingPackageError: `math-verify` is needed and not installed.
    """
    expected, end = str(options["answer"]), text[-READ_CHARACTERS:]
    number, found = parse_number(expected), final_number(end)
    has_formula = "\\" in end or "$" in end
    if number is not None and found is not None and (found == number or not has_formula):
        ok = found == number
        return Grade(float(ok), ok, f"The answer is {found}; {expected} was expected.")
    same = _HELPER.compare(expected, end)
    if same is None:
        return Grade(0.0, False, f"The answer could not be read as a formula within {SECONDS} s.")
    return Grade(float(same), same, "As expected." if same else f"{expected} was expected.")


class _Helper:
    """One process that compares formulas, started when first needed, replaced when it hangs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._asked = 0

    def compare(self, expected: str, answer: str) -> bool | None:
        """Whether both are the same; None if that could not be found out in time."""
        with self._lock:
            process = self._running()
            self._asked += 1
            asked = {"id": self._asked, "expected": expected, "answer": answer}
            line = json.dumps({**asked, "seconds": SECONDS})
            try:
                assert process.stdin is not None
                process.stdin.write(line.encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError:
                self.stop()
                return None
            said = _read_line(process, _WALL_SECONDS)
            if said is None:
                self.stop()
                return None
            return bool(said["same"]) if said.get("id") == self._asked else None

    def _running(self) -> subprocess.Popen[bytes]:
        process = self._process
        if process is not None and process.poll() is None:
            return process
        if importlib.util.find_spec("math_verify") is None:
            raise MissingPackageError(
                "Checking formulas needs the package math-verify: pip install math-verify"
            )
        process = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD)],  # -P: this folder has a code.py and a numbers.py
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._process = process
        if _read_line(process, _WALL_SECONDS) is None:
            self.stop()
            raise MissingPackageError(
                "The package math-verify could not be started; try: pip install math-verify"
            )
        return process

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _read_line(process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any] | None:
    """One JSON line of the process, or None when it says nothing in time or ends."""
    assert process.stdout is not None
    said, end = b"", time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not said.endswith(b"\n"):
            if not selector.select(max(0.0, end - time.monotonic())):
                return None
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                return None
            said += part
    found: dict[str, Any] = json.loads(said)
    return found


_HELPER = _Helper()
atexit.register(_HELPER.stop)
