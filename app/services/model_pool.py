"""One shared model per reference, loaded when it is first asked for.

Weights are far too large to hold once per visitor, so every tab takes its model from here. Each
reference has its own lock: two visitors who ask at once wait for one load.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from prism_core.models.generator import Generator
from prism_core.progress import Progress
from prism_core.utils.lru import LRU

Loader = Callable[[str, Progress | None], Generator]
"""Loads the model of a reference."""


class ModelPool:
    """The loaded models of one app; the one used longest ago makes room for another."""

    def __init__(self, loader: Loader, capacity: int = 2) -> None:
        self._loader = loader
        self._models: LRU[str, Generator] = LRU(capacity)
        self._guard = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    def is_loaded(self, reference: str) -> bool:
        """Whether `get` would answer at once."""
        return reference in self._models

    def get(self, reference: str, progress: Progress | None = None) -> Generator:
        """Return the model, loaded now if need be.

        Raises:
            PrismError: the reference is not allowed, or the model cannot be loaded.
        """
        with self._guard:
            lock = self._loading.setdefault(reference, threading.Lock())
        with lock:
            return self._models.get_or_make(reference, lambda: self._loader(reference, progress))
