"""Findings of the runs that were looked at last, so that a filter need not read the store again."""

from __future__ import annotations

import threading
from collections import OrderedDict

from app.train.story import Findings, read_findings
from prism_core.storage import Store

_KEPT = 4


class FindingsBook:
    """Findings by run and by the mark that says how far the run was."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: OrderedDict[tuple[str, str], Findings] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, run_id: str, mark: str) -> Findings:
        """What a run has found.

        Raises:
            PrismError: the store does not answer, or another version wrote the run.
        """
        key = (run_id, mark)
        with self._guard:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = read_findings(self._store, run_id)
        with self._guard:
            self._found[key] = found
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return found
