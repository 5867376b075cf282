"""One shared model per reference, loaded when it is first asked for.

Weights are far too large to hold once per visitor, so every tab takes its model from here. Each
reference has its own lock: two visitors who ask at once wait for one load.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from collections.abc import Generator as Yields
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

from prism_core.models.generator import Generator
from prism_core.progress import Progress, ProgressReport
from prism_core.utils.lru import LRU
from prism_core.utils.turnstile import Turnstile

Loader = Callable[[str, Progress | None], Generator]
"""Loads the model of a reference."""
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="load-model")


class ModelPool:
    """The loaded models of one app; the one used longest ago makes room for another."""

    def __init__(
        self, loader: Loader, capacity: int = 2, turnstile: Turnstile | None = None
    ) -> None:
        """Hold nothing yet; `turnstile` keeps the workers back while a model is lent."""
        self._loader, self._turnstile = loader, turnstile
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

    @contextmanager
    def lend(self, reference: str) -> Iterator[Generator]:
        """Lend a model to a visitor, who goes before the runs of the workers.

        Raises:
            PrismError: as `get`.
        """
        model = self.get(reference)
        with self._turnstile.serving() if self._turnstile is not None else nullcontext():
            yield model


def load_with_news(pool: ModelPool, reference: str) -> Yields[ProgressReport, None, Generator]:
    """Yield reports until the model is there, then return it.

    It is loaded in a thread, since a first conversion takes most of a minute. The thread is not
    stopped with the visitor: the model serves everybody.

    Raises:
        PrismError: the reference is not allowed, or the model cannot be loaded.
    """
    if pool.is_loaded(reference):
        return pool.get(reference)
    reports: queue.SimpleQueue[ProgressReport] = queue.SimpleQueue()
    future = _THREADS.submit(pool.get, reference, Progress(reports.put))
    yield ProgressReport("model", 0, 1, "loading the model", None)
    while not future.done():
        try:
            yield reports.get(timeout=0.2)
        except queue.Empty:
            continue
    return future.result()
