"""A lock that is given to whoever has waited longest, and again to whoever holds it."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """A reentrant lock with a queue.

    Python's own may be taken again and again by a thread that releases it in between, while others
    wait for seconds.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, threading.Event]] = deque()

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds it."""
        return self._owner == threading.get_ident()

    def __enter__(self) -> FairLock:
        me = threading.get_ident()
        with self._guard:
            if self._owner is None or self._owner == me:
                self._owner, self._depth = me, self._depth + 1
                return self
            turn = threading.Event()
            self._waiting.append((me, turn))
        turn.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._guard:
            self._depth -= 1
            if self._depth:
                return
            self._owner = None
            if self._waiting:
                self._owner, turn = self._waiting.popleft()
                self._depth = 1
                turn.set()
