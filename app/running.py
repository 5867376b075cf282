"""Which comparisons are being written, so that a visitor's Stop reaches the decoding loop.

An event object cannot live in a visitor's `gr.State` (it is deep-copied), so it is kept here under
the page's session. Decoding reads it at every token. A comparison stopped while it waited in the
queue never starts, even if the queue hands it out a moment later.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

REMEMBERED = 1000
"""How many stopped orders are remembered."""


class Running:
    """The cancel events of all pages."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}
        self._stopped: OrderedDict[str, None] = OrderedDict()
        self._guard = threading.Lock()

    def start(self, session: str, order: str) -> threading.Event:
        """The event of a page's new comparison, set already if that was stopped before."""
        event = threading.Event()
        with self._guard:
            earlier = self._events.get(session)
            self._events[session] = event
            if order in self._stopped:
                event.set()
        if earlier is not None:
            earlier.set()
        return event

    def stop(self, session: str, order: str) -> None:
        """Tell what runs on a page to stop, if anything does."""
        with self._guard:
            event = self._events.pop(session, None)
            self._stopped[order] = None
            while len(self._stopped) > REMEMBERED:
                self._stopped.popitem(last=False)
        if event is not None:
            event.set()

    def was_stopped(self, order: str) -> bool:
        """Whether somebody pressed Stop for this comparison."""
        with self._guard:
            return order in self._stopped

    def forget(self, session: str) -> None:
        """The page is gone: what runs there stops."""
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
