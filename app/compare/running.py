"""Which comparisons are being written, so that a visitor's Stop reaches the decoding loop.

An event object cannot live in a visitor's `gr.State` (it is deep-copied), so it is kept here under
the page's session. Decoding reads it at every token. A comparison stopped while it waited in the
queue never starts, even if the queue hands it out a moment later.
"""

from __future__ import annotations

import threading

from prism_core.utils.lru import LRU

REMEMBERED = 1000
"""How many orders are remembered of each kind."""


class Running:
    """The cancel events of all pages."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}
        self._stopped: LRU[str, bool] = LRU(REMEMBERED)
        self._begun: LRU[str, bool] = LRU(REMEMBERED)
        self._guard = threading.Lock()

    def start(self, session: str, order: str) -> threading.Event:
        """Return the event of a page's new comparison; set already if that was stopped before."""
        event = threading.Event()
        with self._guard:
            earlier = self._events.get(session)
            self._events[session] = event
            self._begun.put(order, True)
            if order in self._stopped:
                event.set()
        if earlier is not None:
            earlier.set()
        return event

    @property
    def count(self) -> int:
        """How many comparisons are being written."""
        with self._guard:
            return len(self._events)

    def stop(self, session: str, order: str) -> None:
        """Tell what runs on a page to stop, if anything does."""
        with self._guard:
            self._stopped.put(order, True)
        self.forget(session)

    def was_stopped(self, order: str) -> bool:
        """Whether somebody pressed Stop for this comparison."""
        return order in self._stopped

    def has_begun(self, order: str) -> bool:
        """Whether this comparison has left the queue."""
        return order in self._begun

    def forget(self, session: str) -> None:
        """Stop what runs on a page that is gone."""
        with self._guard:
            event = self._events.pop(session, None)
        if event is not None:
            event.set()

    def finish(self, session: str, event: threading.Event) -> None:
        """Forget an event that is over, unless the page has started another since."""
        event.set()
        with self._guard:
            if self._events.get(session) is event:
                del self._events[session]
