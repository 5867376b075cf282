"""A study's batches on a Ray cluster: the same `Engine`, in as many processes as there are workers.

Each batch is a task; a worker keeps its model between tasks. A worker that dies takes nothing with
it: Ray gives its batch to another one. Answers come back in any order and are committed as they
come, by the process that started the study, which alone writes to the store. Ray is imported when
it is first needed; `RAY_ADDRESS` names a running cluster, else one is started on this machine.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from prism_core.errors import CancelledError, InputError, ModelError, PrismError
from prism_core.study.batches import Batch
from prism_core.study.engine import Engine, ModelFacts, Response
from prism_core.study.spec import Scoring

RETRIES = 3
"""How often a batch is given to another worker before the study fails."""
WAIT_SECONDS = 0.25
AHEAD = 2
"""Batches waiting for each worker; more would only fill its memory."""
Folders = tuple[tuple[str, str], ...]


class RayExecutor:
    """Computes batches on a Ray cluster; see `prism_core.study.run.Executor`."""

    def __init__(
        self,
        adapters: Mapping[str, Path],
        temperature: float,
        top_p: float,
        cancel: threading.Event | None = None,
    ) -> None:
        """Connect to the cluster, or start one here.

        Raises:
            InputError: Ray is not installed.
            ModelError: the cluster does not answer.
        """
        self._ray = import_ray()
        self._cancel = cancel or threading.Event()
        self._started = not self._ray.is_initialized()
        if self._started:
            try:
                self._ray.init(
                    address=os.environ.get("RAY_ADDRESS") or None,
                    include_dashboard=False,
                    log_to_driver=False,
                    ignore_reinit_error=True,
                )
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise ModelError(f"The Ray cluster does not answer: {error}") from error
        folders = tuple((name, str(folder)) for name, folder in adapters.items())
        self._setup = (folders, temperature, top_p)
        gpus = 1 if self._ray.cluster_resources().get("GPU", 0) >= 1 else 0
        options = {"num_cpus": 1, "num_gpus": gpus, "max_retries": RETRIES}
        self._answer = self._ray.remote(answer_batch).options(**options)
        self._facts = self._ray.remote(model_facts).options(**options)
        self._print = self._ray.remote(model_fingerprint).options(**options)

    @property
    def workers(self) -> int:
        """Return how many batches can be at work at once."""
        resources = self._ray.cluster_resources()
        return max(1, int(resources.get("GPU") or resources.get("CPU", 1)))

    def facts(self, reference: str, scoring: Scoring, has_choices: bool = True) -> ModelFacts:
        """See `Engine.facts`; asked of a worker, so that this process needs no model."""
        found: ModelFacts = self._wait(
            self._facts.remote(self._setup, reference, scoring, has_choices)
        )
        return found

    def fingerprint(self, reference: str) -> str:
        """Return the identity of a model, as a worker sees it."""
        return str(self._wait(self._print.remote(self._setup, reference)))

    def answer_all(
        self, batches: Sequence[Batch], scoring: Scoring, cancel: threading.Event
    ) -> Iterator[tuple[int, list[Response]]]:
        """Yield (place in `batches`, its answers) as workers return them.

        Raises:
            PrismError: a worker said why it cannot answer.
            ModelError: a batch lost its worker again and again.
            CancelledError: `cancel` was set.
        """
        self._cancel = cancel
        waiting = iter(enumerate(batches))
        at_work: dict[Any, int] = {}
        try:
            while True:
                while len(at_work) < AHEAD * self.workers:
                    following = next(waiting, None)
                    if following is None:
                        break
                    place, batch = following
                    at_work[self._answer.remote(self._setup, batch, scoring)] = place
                if not at_work:
                    return
                done, _ = self._ray.wait(list(at_work), timeout=WAIT_SECONDS)
                for task in done:
                    place = at_work.pop(task)
                    yield place, self._result(task)
                if cancel.is_set():
                    raise CancelledError("stopped on request")
        finally:
            for task in at_work:
                self._ray.cancel(task, force=True)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._started:
            self._ray.shutdown()

    def _wait(self, task: Any) -> Any:
        while True:
            done, _ = self._ray.wait([task], timeout=WAIT_SECONDS)
            if done:
                return self._result(task)
            if self._cancel.is_set():
                self._ray.cancel(task, force=True)
                raise CancelledError("stopped on request")

    def _result(self, task: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as error:
            if isinstance(error.cause, PrismError):
                raise error.cause from error
            raise ModelError(f"A worker failed: {error.cause}") from error
        except errors.RayError as error:
            raise ModelError(
                f"A batch lost its worker {RETRIES + 1} times ({type(error).__name__}); does the "
                "model fit into the workers' memory?"
            ) from error


def import_ray() -> Any:
    """Return Ray's module.

    Raises:
        InputError: it is not installed; the message says how to.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise InputError(
            "executor is 'ray', but Ray is not installed. Install it with "
            "'pip install ray==2.60.0', or choose the executor 'local'."
        ) from error
    return ray


Setup = tuple[Folders, float, float]


@lru_cache(maxsize=1)
def engine_of(setup: Setup) -> Engine:
    """Return the engine of this worker's process, kept between tasks."""
    folders, temperature, top_p = setup
    return Engine({name: Path(folder) for name, folder in folders}, temperature, top_p)


def answer_batch(setup: Setup, batch: Batch, scoring: Scoring) -> list[Response]:
    """Answer one batch: a worker's task."""
    return engine_of(setup).answer(batch, scoring)


def model_facts(setup: Setup, reference: str, scoring: Scoring, has_choices: bool) -> ModelFacts:
    """Return what is known of a model: a worker's task."""
    return engine_of(setup).facts(reference, scoring, has_choices)


def model_fingerprint(setup: Setup, reference: str) -> str:
    """Return the identity of a model: a worker's task."""
    return engine_of(setup).fingerprint(reference)
