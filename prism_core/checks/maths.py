r"""Is the mathematics right? `math-verify` knows that 1/2, 0.5 and \frac{1}{2} are the same.

Plain numbers are compared without it. Formulas are read by a helper process that lives on between
calls: a formula such as 9^{9^{9^9}} can keep an algebra system busy for ever, and only a process
is sure to stop. Only the end of a long answer is read: the answer stands there.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from prism_core.checks.check import Grade, MissingPackageError, Options, pass_or_fail
from prism_core.checks.numeric import final_number, parse_number

READ_CHARACTERS = 3_000
"""How much of an answer's end is read."""
SECONDS = 5.0
"""How much processor time one comparison may take."""
_WALL_SECONDS = 60.0
_CHILD = Path(__file__).with_name("maths_child.py")


def grade_maths(options: Options, text: str) -> Grade:
    """Compare an answer with `answer`, a formula in LaTeX or a number.

    Raises:
        MissingPackageError: `math-verify` is needed and not installed.
    """
    expected, end = str(options["answer"]), text[-READ_CHARACTERS:]
    number, found = parse_number(expected), final_number(end)
    has_formula = "\\" in end or "$" in end
    if number is not None and found is not None and (found == number or not has_formula):
        return pass_or_fail(found == number, f"The answer is {found}; {expected} was expected.")
    same = _HELPER.compare(expected, end)
    if same is None:
        return pass_or_fail(False, f"The answer could not be read as a formula within {SECONDS} s.")
    return pass_or_fail(same, "As expected." if same else f"{expected} was expected.")


class _Helper:
    """One process that compares formulas, started when first needed, replaced when it hangs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._asked = 0

    def compare(self, expected: str, answer: str) -> bool | None:
        """Whether both are the same; None if that cannot be found out in time."""
        with self._lock:
            process = self._running()
            self._asked += 1
            asked = {"id": self._asked, "expected": expected, "answer": answer}
            try:
                assert process.stdin is not None
                process.stdin.write(json.dumps({**asked, "seconds": SECONDS}).encode() + b"\n")
                process.stdin.flush()
                said = _read_line(process)
            except BrokenPipeError:
                said = None
            if said is None:
                self.stop()
                return None
            return bool(said["same"]) if said.get("id") == self._asked else None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        if importlib.util.find_spec("math_verify") is None:
            raise MissingPackageError(
                "Checking formulas needs the package math-verify: pip install math-verify"
            )
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD)],  # -P: our modules must not shadow its packages
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if _read_line(process) is None:
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


def _read_line(process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """Read one JSON line of the process, or None when it says nothing in time or ends."""
    assert process.stdout is not None
    timer = threading.Timer(_WALL_SECONDS, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    found: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
    return found


_HELPER = _Helper()
atexit.register(_HELPER.stop)
