"""How fast an endpoint is asked: one pace shared by all threads that ask it.

1. At most `most` requests are under way; a request waits for its slot.
2. Where the endpoint asks for less (429), the slots are halved, once for all requests that were
   under way together, and nobody asks before the time that it names (Retry-After).
3. Every answer opens a part of a slot, so that a round of answers opens one (AIMD, as TCP does).
4. Where the endpoint is away, everybody waits; where one request fails, it alone waits. Both wait
   twice as long each time, with jitter, up to `LONGEST_WAIT`.
5. An endpoint that is busy or away is asked again until it answers or somebody stops the work; a
   request that fails or loses its answer is repeated `retries` times at most.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from prism_core.errors import CancelledError, PassingError, RemoteError
from prism_core.progress import Cancel

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds before the first and before any later try, where the endpoint does not say."""
_LOOK = 0.1
"""Seconds between two looks at the cancel event."""


class Pace:
    """The pace of one endpoint. Safe to share among threads."""

    def __init__(
        self,
        most: int,
        retries: int = 5,
        chance: random.Random | None = None,
        *,
        per_minute: int | None = None,
    ) -> None:
        """Begin with all slots open; `chance` draws the jitter.

        With `per_minute`, requests are at least so far apart that no minute has more of them.
        """
        self._gap, self._next = 60.0 / per_minute if per_minute else 0.0, 0.0
        self._most, self._retries = most, retries
        self._chance = chance or random.Random()
        self._changed = threading.Condition()
        self._slots, self._under_way = float(most), 0
        self._ask_from, self._slowed_at = 0.0, 0.0
        self._in_vain = 0
        self._reason = ""

    @property
    def slots(self) -> int:
        """How many requests may be under way now."""
        return max(1, int(self._slots))

    def pause(self) -> str:
        """Say why nobody may ask now and how long that lasts; empty while somebody may."""
        with self._changed:
            left = self._ask_from - time.monotonic()
            return f"{self._reason} Asking again in {left:.0f} s." if left > 0 else ""

    def call(self, ask: Callable[[], T], cancel: Cancel = None) -> T:
        """Return what `ask` returns, asked when its turn has come and again where it may help.

        Raises:
            CancelledError: `cancel` was set while it waited.
            RemoteError: it was refused, or failed once more than it may.
        """
        failures = 0
        while True:
            started = self._enter(cancel)
            try:
                found = ask()
            except PassingError as error:
                self._leave()
                if error.kind in ("limited", "away"):
                    self._hold(error, started)
                    continue
                failures += 1
                if failures > self._retries:
                    raise RemoteError(f"{error} It was asked {failures} times.") from error
                _sleep(error.retry_after or self._wait(failures), cancel)
            except BaseException:
                self._leave()
                raise
            else:
                self._leave()
                self._open_up()
                return found

    def _enter(self, cancel: Cancel) -> float:
        """Wait for a slot; return the time at which it was taken."""
        with self._changed:
            while True:
                if cancel is not None and cancel.is_set():
                    raise CancelledError("stopped on request")
                now = time.monotonic()
                ready = max(self._ask_from, self._next)
                if self._under_way < self.slots and now >= ready:
                    self._under_way += 1
                    self._next = now + self._gap
                    return now
                left = ready - now
                self._changed.wait(min(_LOOK, left) if left > 0 else _LOOK)

    def _leave(self) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify()

    def _open_up(self) -> None:
        with self._changed:
            self._slots = min(self._most, self._slots + 1 / self._slots)
            self._in_vain = 0
            self._changed.notify()

    def _hold(self, error: PassingError, started: float) -> None:
        """Let nobody ask for a while; what was sent before the last time slows nothing again."""
        with self._changed:
            now = time.monotonic()
            if started >= self._slowed_at:
                self._slowed_at = now
                self._in_vain += 1
                if error.kind == "limited":
                    self._slots = max(1.0, self._slots / 2)
                self._reason = str(error)
                self._ask_from = now + self._wait(self._in_vain)
            if error.retry_after is not None:
                self._ask_from = max(self._ask_from, now + error.retry_after)

    def _wait(self, times: int) -> float:
        """Return the seconds before the next try: half of them certain, half by chance."""
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(times - 1, 16))
        return longest * self._chance.uniform(0.5, 1.0)


def _sleep(seconds: float, cancel: Cancel) -> None:
    if (cancel or threading.Event()).wait(seconds):
        raise CancelledError("stopped on request")
