"""One shared model a reference, loaded when it is first asked for.

Weights are far too large to hold once a visitor, so every tab takes its model from here. Each
reference has its own lock: two visitors who ask at once wait for one load. The model used longest
ago is let go when more than `capacity` are held.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from prism_core.models.generator import Generator
from prism_core.progress import Progress

Loader = Callable[[str, Progress | None], Generator]
"""Loads the model of a reference."""


class ModelPool:
    """Holds the loaded models of one app."""

    def __init__(self, loader: Loader, capacity: int = 2) -> None:
        self._loader = loader
        self._capacity = capacity
        self._models: OrderedDict[str, Generator] = OrderedDict()
        self._guard = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    def is_loaded(self, reference: str) -> bool:
        """Whether `get` would answer at once."""
        with self._guard:
            return reference in self._models

    def get(self, reference: str, progress: Progress | None = None) -> Generator:
        """The model, loaded now if need be.

        Raises:
            PrismError: the reference is not allowed, or the model cannot be loaded.
        """
        with self._guard:
            lock = self._loading.setdefault(reference, threading.Lock())
        with lock:
            with self._guard:
                if reference in self._models:
                    self._models.move_to_end(reference)
                    return self._models[reference]
            model = self._loader(reference, progress)
            with self._guard:
                self._models[reference] = model
                while len(self._models) > self._capacity:
                    self._models.popitem(last=False)
            return model
