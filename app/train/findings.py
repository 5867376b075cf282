"""Findings of the runs that were looked at last, so that a filter need not read the store again."""

from __future__ import annotations

from app.train.story import Findings, read_findings
from prism_core.storage import Store
from prism_core.utils.lru import LRU


class FindingsBook:
    """Findings by run and by the mark that says how far the run was."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: LRU[tuple[str, str], Findings] = LRU(4)

    def get(self, run_id: str, mark: str) -> Findings:
        """Return what a run has found.

        Raises:
            PrismError: the store does not answer, or another version wrote the run.
        """
        return self._found.get_or_make((run_id, mark), lambda: read_findings(self._store, run_id))
