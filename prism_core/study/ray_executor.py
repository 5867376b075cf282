"""A study's batches on a Ray cluster: the same `Engine`, in as many processes as there are workers.

Each batch is a task; a worker keeps its model between tasks. A worker that dies takes nothing with
it: Ray gives its batch to another one. Answers come back in any order and are committed as they
come, by the process that started the study, which alone writes to the store. Ray is imported when
it is first needed; `RAY_ADDRESS` names a running cluster, else one is started on this machine.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prism_core.errors import CancelledError, InputError, ModelError, PrismError
from prism_core.study.batches import Batch
from prism_core.study.cells import ModelFacts
from prism_core.study.choices import Way
from prism_core.study.engine import Arrived, Engine
from prism_core.study.spec import StudySpec

RETRIES = 3
"""How often a batch is given to another worker before the study fails."""
WAIT_SECONDS = 0.25
AHEAD = 2
"""Batches waiting for each worker; more would only fill its memory."""


class RayExecutor:
    """Computes batches on a Ray cluster; see `prism_core.study.run.Executor`."""

    def __init__(
        self, adapters: Mapping[str, Path], spec: StudySpec, cancel: threading.Event | None = None
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
        gpus = 1 if self._ray.cluster_resources().get("GPU", 0) >= 1 else 0
        self._task = self._ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(ask_engine)
        self._setup = (folders, spec)

    @property
    def workers(self) -> int:
        """How many batches can be at work at once."""
        resources = self._ray.cluster_resources()
        return max(1, int(resources.get("GPU") or resources.get("CPU", 1)))

    def facts(self, reference: str, has_choices: bool = True) -> ModelFacts:
        """See `Engine.facts`; asked of a worker, so that this process needs no model."""
        found: ModelFacts = self._wait(self._ask("facts", reference, has_choices))
        return found

    def fingerprint(self, reference: str) -> str:
        """Return the identity of a model, as a worker sees it."""
        return str(self._wait(self._ask("fingerprint", reference)))

    def answer_all(
        self, batches: Sequence[Batch], scoring: Way, begun: Arrived
    ) -> Iterator[Arrived]:
        """Yield responses batch by batch, as workers return them.

        Raises:
            PrismError: a worker said why it cannot answer.
            ModelError: a batch lost its worker again and again.
            CancelledError: stopped on request.
        """
        waiting = iter(enumerate(batches))
        at_work: dict[Any, int] = {}
        try:
            while True:
                while len(at_work) < AHEAD * self.workers:
                    following = next(waiting, None)
                    if following is None:
                        break
                    place, batch = following
                    at_work[self._ask("answer", batch, scoring)] = place
                if not at_work:
                    return
                done, _ = self._ray.wait(list(at_work), timeout=WAIT_SECONDS)
                for task in done:
                    place = at_work.pop(task)
                    yield {place: dict(enumerate(self._result(task)))}
                if self._cancel.is_set():
                    raise CancelledError("stopped on request")
        finally:
            for task in at_work:
                self._ray.cancel(task, force=True)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._started:
            self._ray.shutdown()

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Begin a task; Ray shows it, and names its worker's process, by the method."""
        return self._task.options(name=method).remote(self._setup, method, *arguments)

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


Setup = tuple[tuple[tuple[str, str], ...], StudySpec]


@functools.lru_cache(maxsize=1)
def engine_of(setup: Setup) -> Engine:
    """Return the engine of this worker's process, kept between tasks."""
    folders, spec = setup
    return Engine({name: Path(folder) for name, folder in folders}, spec)


def ask_engine(setup: Setup, method: str, *arguments: Any) -> Any:
    """Do a worker's task: call a method of its engine."""
    return getattr(engine_of(setup), method)(*arguments)
