"""How much of the app one client may hold: an address, or who logged in with Hugging Face.

A school sits behind one address, so a client is taken for `PEOPLE` people at least: all of them can
press Compare at the same time, and a script holds no more than they do. Whoever expects more behind
one address says so (`--room`). What is over a quota is refused; nobody else's work is ever dropped
for it. Where strangers cannot come nothing is counted.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from app.services.event_log import EventLog
from prism_core.errors import InputError

PEOPLE = 30
"""People behind one address whom every copy bears."""
LEAST_RUNS = 6
"""Unfinished runs of a client where no room was asked for."""
QUEUE = 60
"""Requests that may wait where no client is counted."""
SHARES = 4
"""Clients that fit the app with all they may hold; the queue is as long."""
HOUR = 3_600.0


@dataclass(frozen=True)
class Quotas:
    """The most that one client may hold; infinity where nothing is counted."""

    queue: int = QUEUE
    """Requests that may wait, of all clients together."""
    places: float = math.inf
    """Requests that wait for a model or are being answered."""
    pages: float = math.inf
    """Open pages."""
    runs: float = math.inf
    """Runs that wait or are at work."""
    upload_bytes: float = math.inf
    """Bytes that are uploaded in an hour."""
    kept_files: float = math.inf
    """Study files that are kept."""
    kept_bytes: float = math.inf
    """Bytes of study files that are kept."""
    all_upload_bytes: float = math.inf
    """Bytes that all clients together upload in an hour."""
    all_kept_bytes: float = math.inf
    """Bytes of study files that are kept for all clients together."""
    run_seconds: float = math.inf
    """How long a run may be at work before it has to be resumed."""
    failed_logins: int = 10
    """Wrong passwords and tokens in `LOGIN_SECONDS`, before no more are looked at."""


LOGIN_SECONDS = 600.0


def quotas_of(public: bool, room: int = 0) -> Quotas:
    """Return the quotas of a deployment that expects up to `room` people behind one address."""
    people = max(PEOPLE, room)
    if not public:
        return Quotas(queue=max(QUEUE, 2 * people))
    return Quotas(
        queue=SHARES * (people + 10),
        places=people + 10,
        pages=4 * people,
        runs=max(LEAST_RUNS, room),
        upload_bytes=4_000_000 * people,
        kept_files=2 * people,
        kept_bytes=4_000_000 * people,
        all_upload_bytes=SHARES * 4_000_000 * people,
        all_kept_bytes=SHARES * 4_000_000 * people,
        run_seconds=HOUR,
        failed_logins=people,
    )


class Spent:
    """What clients have spent of something in the last while. Safe to share among threads."""

    def __init__(self, seconds: float = HOUR, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._now = seconds, now
        self._spent: dict[str, deque[tuple[float, float]]] = {}
        self._guard = threading.Lock()

    def of(self, client: str) -> float:
        """Return what one client has spent."""
        with self._guard:
            self._forget_old()
            return sum(amount for _, amount in self._spent.get(client, ()))

    def of_all(self) -> float:
        """Return what all clients have spent together."""
        with self._guard:
            self._forget_old()
            return sum(amount for one in self._spent.values() for _, amount in one)

    def add(self, client: str, amount: float = 1.0) -> None:
        """Note that a client has spent something now."""
        with self._guard:
            self._forget_old()
            self._spent.setdefault(client, deque()).append((self._now(), amount))

    def _forget_old(self) -> None:
        end = self._now() - self._seconds
        for client, amounts in list(self._spent.items()):
            while amounts and amounts[0][0] <= end:
                amounts.popleft()
            if not amounts:
                del self._spent[client]


def check_quota(
    held: float, most: float, what: str, client: str = "", log: EventLog | None = None
) -> None:
    """Refuse a client what it holds enough of, and write the refusal down; `what` names it.

    Raises:
        InputError: `held` has reached `most`.
    """
    if held < most:
        return
    if log is not None:
        log.refuse(client, what, "quota")
    raise InputError(
        f"There are {held:,.0f} {what} from your address already; this copy takes at most "
        f"{most:,.0f} from one. Try again when there are fewer."
    )
