"""The helper process of `maths.py`: it reads formulas as lines of JSON and says which are equal.

It is run as a file, in a process of its own, and imports nothing of this package.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from typing import Any

_MEMORY = 2_000_000_000


def main() -> None:
    """Answer until the input ends."""
    from math_verify import parse, verify

    _limit_memory()
    logging.disable(logging.CRITICAL)
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        _limit_time(asked["seconds"])
        try:
            gold = parse(f"${asked['expected']}$", parsing_timeout=None)
            answer = parse(asked["answer"], parsing_timeout=None)
            same = bool(gold and answer and verify(gold, answer, timeout_seconds=None))
        except (MemoryError, RecursionError, ArithmeticError, ValueError, TypeError):
            same = False
        _say({"id": asked["id"], "same": same})


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not a Unix: the time limit has to do
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _limit_time(seconds: float) -> None:
    """End this process after so much processor time, which no waiting for a turn uses up."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
