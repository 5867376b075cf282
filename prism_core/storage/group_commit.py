"""Many threads' writes in few transactions: each thread waits until its own is on the disk.

The first thread that comes while another one writes leads the next transaction; whoever comes
before that begins joins it. Nobody waits for company: a lone write is written at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Parts = Mapping[str, Any]


@dataclass
class _Group:
    """What goes into one transaction."""

    parts: dict[str, Any] = field(default_factory=dict)
    has_leader: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class GroupCommit:
    """Hands parts by key to `write`, one transaction at a time."""

    def __init__(self, write: Callable[[Parts], None]) -> None:
        self._write = write
        self._joining, self._writing = threading.Lock(), threading.Lock()
        self._group = _Group()

    def put(self, parts: Parts) -> None:
        """Return once the parts are written; what `write` raises, all who joined are told."""
        with self._joining:
            group, leads = self._group, not self._group.has_leader
            group.parts.update(parts)
            group.has_leader = True
        if leads:
            self._lead(group)
        group.done.wait()
        if group.error is not None:
            raise group.error

    def _lead(self, group: _Group) -> None:
        with self._writing:
            with self._joining:
                self._group = _Group()
            try:
                self._write(group.parts)
            except Exception as error:  # not swallowed: raised where each of its threads waits
                group.error = error
            finally:
                group.done.set()
