"""What the server keeps of each visit: what differs from the page that everybody has.

Gradio writes every component's whole configuration down for each visit (0.9 MB here, for its deep
links), and keeps up to 10,000 visits for good. This app has no deep links, so a visit here keeps
its own values alone. A visit whose page was closed is forgotten after an hour, or when there are
many of them; one whose page is open never is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

OPEN_PAGES = 1_000
"""More are not let in, see `Door`."""
CAPACITY = 250
"""Visits without an open page that are remembered, in case that the visitor comes back to it."""
KEEP_SECONDS = 3_600.0
"""How long they are."""


class LeanSession(SessionState):
    """The values of one visit."""

    def __init__(self, blocks: gr.Blocks) -> None:
        # A page without blocks: its configuration is what Gradio would write down.
        bare = SimpleNamespace(default_config=blocks.default_config, blocks={})
        super().__init__(cast(gr.Blocks, bare))

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.config_values.pop(key, None)

    def _update_config(self, key: int) -> None:
        """Write nothing down."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Write nothing down."""


class Sessions(StateHolder):
    """All visits by Gradio's session, the one used longest ago first."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        super().__init__()
        self._most = capacity
        self.pages: Counter[str] = Counter()
        """The open pages of each session: connections that the browser holds while it shows one."""

    def set_blocks(self, blocks: gr.Blocks) -> None:
        """Serve the visits of a page."""
        super().set_blocks(blocks)
        self.capacity = self._most

    def __getitem__(self, session_id: str) -> SessionState:
        with self.lock:
            if session_id not in self.session_data:
                self.session_data[session_id] = LeanSession(self.blocks)
        return super().__getitem__(session_id)

    def update(self, session_id: str) -> None:
        """Note that a session is in use; forget another where there are too many."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            if len(self.session_data) > self.capacity:
                closed = [one for one in self.session_data if not self.pages[one]]
                for one in closed[: max(0, len(closed) - self.capacity)]:
                    self._forget(one)

    def delete_all_expired_state(self) -> None:
        """Forget what has been closed for long; Gradio asks for it every second."""
        super().delete_all_expired_state()
        now = datetime.now()
        with self.lock:
            for session_id, used in list(self.time_last_used.items()):
                idle = (now - used).total_seconds() > KEEP_SECONDS
                if idle and not self.pages[session_id]:
                    self._forget(session_id)

    def _forget(self, session_id: str) -> None:
        self.session_data.pop(session_id, None)
        self.time_last_used.pop(session_id, None)


def waiting_scopes(page: gr.Blocks) -> list[Mapping[str, Any]]:
    """Return the scopes of the requests that wait in a page's queue or are being answered."""
    queue = page._queue
    waiting = [
        event for one in queue.event_queue_per_concurrency_id.values() for event in one.queue
    ]
    working = [event for job in queue.active_jobs if job for event in job]
    return [event.request.scope for event in (*waiting, *working) if event.request is not None]


def use_lean_sessions(page: gr.Blocks, sessions: Sessions) -> None:
    """Let a launched page keep its visits in `sessions`."""
    page.app.state_holder = sessions
    sessions.set_blocks(page)
