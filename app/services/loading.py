"""Load a model and tell how it goes, from inside a generator.

Loading blocks, and a first conversion takes most of a minute. It runs in a thread while the
generator yields what is being done; the thread is not stopped with the visitor, since the model
serves everybody.
"""

from __future__ import annotations

import queue
from collections.abc import Generator as Yields
from concurrent.futures import ThreadPoolExecutor

from app.services.model_pool import ModelPool
from prism_core.models.generator import Generator
from prism_core.progress import Progress, ProgressReport

_POOL = ThreadPoolExecutor(2, thread_name_prefix="load-model")


def load_with_news(pool: ModelPool, reference: str) -> Yields[ProgressReport, None, Generator]:
    """Yield reports until the model is there, then return it.

    Raises:
        PrismError: the reference is not allowed, or the model cannot be loaded.
    """
    if pool.is_loaded(reference):
        return pool.get(reference)
    reports: queue.SimpleQueue[ProgressReport] = queue.SimpleQueue()
    future = _POOL.submit(pool.get, reference, Progress(reports.put))
    yield ProgressReport("model", 0, 1, "loading the model", None)
    while not future.done():
        try:
            yield reports.get(timeout=0.2)
        except queue.Empty:
            continue
    return future.result()
