"""Which comparisons are being written, so that a visitor's Stop reaches the decoding loop.

An event object cannot live in a visitor's `gr.State` (it is deep-copied), so it is kept here under
the page's session. Decoding reads it at every token.
"""

from __future__ import annotations

import threading


class Running:
    """The cancel events of all pages."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}
        self._guard = threading.Lock()

    def start(self, session: str) -> threading.Event:
        """A fresh event for a page; whatever still ran there is told to stop."""
        event = threading.Event()
        with self._guard:
            earlier = self._events.get(session)
            self._events[session] = event
        if earlier is not None:
            earlier.set()
        return event

    def stop(self, session: str) -> None:
        """Tell what runs on a page to stop, if anything does."""
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
