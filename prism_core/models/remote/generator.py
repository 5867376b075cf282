"""Any OpenAI-compatible endpoint as a `Generator`.

Every prompt is a streamed chat request in a thread of its own; their answers so far are merged into
one snapshot after another. Where a dealer is given, it sends each request in its turn and again
where that may help; else the `openai` client repeats what failed.

Departures from a local model: the endpoint's weights cannot be seen, so the fingerprint knows only
address and name; a row's text depends on how the server batches; given choices are scored where a
probe found that the server can, see `given_text`.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TypeVar

from prism_core.errors import CancelledError, InputError, ModelError, PassingError
from prism_core.models.buying.dealer import Dealer, most_tokens
from prism_core.models.buying.prices import Usage
from prism_core.models.generator import BaseGenerator, Prompts, Request, check_choices
from prism_core.models.remote.answer import RemoteAnswer
from prism_core.models.remote.catalogue import unnamed_endpoint
from prism_core.models.remote.client import Client
from prism_core.models.remote.endpoint import Endpoint
from prism_core.models.remote.errors import EndpointError
from prism_core.models.remote.first_token import first_tokens
from prism_core.models.remote.given_text import score_given
from prism_core.models.remote.probe import Probe
from prism_core.models.remote.probing import probe_model
from prism_core.progress import Cancel
from prism_core.types import ChoiceScore, Completion, Prompt
from prism_core.utils.validation import check

T = TypeVar("T")
Ask = Callable[[], tuple[T, Usage | None]]
"""Sends one request; returns what it found, and the tokens where they were counted."""
PARALLEL = 8
"""Requests under way at the same time where the endpoint sets no limit."""
PATIENCE = 0.05
"""Seconds between two looks at the cancel event."""

_Updates = queue.SimpleQueue[tuple[int, Completion | Exception]]
"""What the rows' threads tell the merging loop: a row and its answer so far, or what went wrong."""


class RemoteGenerator(BaseGenerator):
    """A model behind an OpenAI-compatible endpoint: `Generator`."""

    has_system_role = True
    """Such an endpoint takes system turns and places them itself."""

    def __init__(self, endpoint: Endpoint, model: str, effort: str = "") -> None:
        """Connect nothing yet; the first request does.

        A reasoning model thinks with the given `effort`; empty leaves it to the model.

        Raises:
            InputError: a value cannot be used; the key itself is never quoted.
        """
        if not model.strip():
            raise InputError(f"The model's name at the endpoint '{endpoint.name}' is empty.")
        self.name, self.host = model, endpoint.host
        self.parallel = endpoint.concurrency or PARALLEL
        self.client = Client(endpoint, model, effort=effort)
        self._dealer: Dealer | None = None
        self._probe: Probe | None = None
        self._probing = threading.Lock()
        identity = "\0".join([endpoint.base_url, model, *filter(None, [effort])]).encode()
        self.fingerprint = f"remote-{hashlib.sha256(identity).hexdigest()[:16]}"

    @property
    def dealer(self) -> Dealer | None:
        """Who sends each request in its turn, and again where it may help; None for at once."""
        return self._dealer

    @dealer.setter
    def dealer(self, dealer: Dealer | None) -> None:
        self._dealer = dealer
        self.client.retries = self.client.endpoint.retries if dealer is None else 0

    def probe(self, cancel: Cancel = None) -> Probe:
        """Return what the model can do, found out once by a few small requests.

        Raises:
            RemoteError: it does not answer.
            CancelledError: `cancel` was set.
        """
        with self._probing:
            if self._probe is None:
                self._probe = probe_model(self.client, partial(self._deal, cancel=cancel))
            return self._probe

    def remember(self, probe: Probe) -> None:
        """Take what an earlier probe of this model found for true."""
        self._probe = probe
        self.client.dialect.adopt(probe.refused)

    def answer(
        self, requests: Sequence[Request], *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far whenever one grew.

        Raises:
            RemoteError: the endpoint refused, failed or did not answer.
        """
        for request in requests:
            self._check(request)
        return self._merge(requests, cancel or threading.Event())

    def _check(self, request: Request) -> None:
        check(request.sampling)
        wanted, most = request.sampling.max_new_tokens, self.client.endpoint.limits.answer_tokens
        if most is not None and wanted > most:
            raise InputError(
                f"An answer of up to {wanted:,} tokens is asked for; the endpoint "
                f"'{self.client.endpoint.name}' allows {most:,} (limits.answer_tokens)."
            )
        if not request.prompt:
            raise InputError("A prompt is empty; it needs at least one message.")
        if request.adapter is not None:
            raise InputError(f"{self.name} is a remote model, which takes no adapter.")

    def score_choices(
        self, prompts: Prompts, choices: Sequence[Sequence[str]], *, cancel: Cancel = None
    ) -> list[list[ChoiceScore]]:
        """Return each choice's log-likelihood behind the model's own chat template."""
        check_choices(choices)
        route = self.probe(cancel).prompt_logprobs
        rows = list(zip(prompts, choices, strict=True))
        jobs = [
            (prompt, partial(score_given, self.client, route, prompt, choice))
            for prompt, row in rows
            for choice in row
        ]
        scores = iter(self._score_all(jobs, cancel))
        return [[next(scores) for _ in row] for row in choices]

    def first_tokens(self, prompts: Prompts, *, cancel: Cancel = None) -> list[Mapping[str, float]]:
        """Return the most probable first tokens of each answer with their log-probabilities.

        Raises:
            ModelError: the endpoint does not report them.
            CancelledError: `cancel` was set.
        """
        top = self.probe(cancel).top_logprobs
        if not top:
            raise ModelError(f"{self.host} does not report log-probabilities of what it writes.")
        jobs = [(prompt, partial(first_tokens, self.client, prompt, top)) for prompt in prompts]
        return self._score_all(jobs, cancel)

    def _score_all(self, jobs: Sequence[tuple[Prompt, Ask[T]]], cancel: Cancel) -> list[T]:
        """Return what each job asks for, side by side."""

        def one(job: tuple[Prompt, Ask[T]]) -> T:
            return self._deal(job[1], most_tokens(job[0], 1), cancel)

        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(one, jobs))

    def _deal(self, ask: Ask[T], most: Usage, cancel: Cancel) -> T:
        """Return what `ask` finds, through the dealer where there is one."""
        if cancel is not None and cancel.is_set():
            raise CancelledError("stopped on request")
        return ask()[0] if self._dealer is None else self._dealer.deal(ask, most, cancel)

    def _merge(
        self, requests: Sequence[Request], cancel: threading.Event
    ) -> Iterator[list[Completion]]:
        """Start the threads, gather their updates, and stop them on the way out."""
        jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
        for row in range(len(requests)):
            jobs.put(row)
        updates: _Updates = queue.SimpleQueue()
        stop, start = threading.Event(), time.perf_counter()

        def work() -> None:
            while not stop.is_set():
                try:
                    row = jobs.get_nowait()
                except queue.Empty:
                    return
                show = partial(_show, updates, row)
                request = requests[row]
                ask = partial(self._ask, request, start, stop, show)
                most = most_tokens(request.prompt, request.sampling.max_new_tokens)
                try:
                    updates.put((row, self._deal(ask, most, stop)))
                except Exception as error:  # not swallowed: raised again where it is waited for
                    updates.put((row, error))

        for _ in range(min(self.parallel, len(requests))):
            threading.Thread(target=work, daemon=True, name="prism-remote").start()
        done = [Completion("") for _ in requests]
        try:
            while any(c.finish == "running" for c in done):
                if cancel.is_set():
                    yield [
                        replace(c, finish="cancelled") if c.finish == "running" else c for c in done
                    ]
                    return
                if _drain(updates, done):
                    yield list(done)
        finally:
            stop.set()

    def _ask(
        self,
        request: Request,
        start: float,
        stop: threading.Event,
        show: Callable[[Completion], None],
    ) -> tuple[Completion, Usage | None]:
        """Send one request and show its answer as it grows; return it whole, and what was counted.

        Raises:
            RemoteError: the endpoint refused, failed or broke off.
            CancelledError: `stop` was set; the connection is closed.
        """
        answer = RemoteAnswer(start)
        body = self.client.dialect.body(request.prompt, request.sampling, request.seed)
        try:
            with closing(self.client.stream(body)) as pieces:
                for piece in pieces:
                    if stop.is_set():
                        raise CancelledError("stopped on request")
                    if answer.take(piece):
                        show(answer.completion("running"))
        except EndpointError as error:
            if error.trouble != "filtered":
                raise
            answer.finish = "filtered"  # asked again, it would be filtered again
        except PassingError:
            if answer.finish is None:  # else nothing but the count of tokens is missing
                raise
        return answer.completion(answer.check_end(self.host)), answer.usage


def from_environment(model: str) -> RemoteGenerator:
    """Make a remote model at `PRISM_REMOTE_URL` with the key `PRISM_REMOTE_KEY` (may be empty).

    Raises:
        InputError: the address is missing or malformed.
    """
    return RemoteGenerator(unnamed_endpoint(), model)


def _show(updates: _Updates, row: int, answer: Completion) -> None:
    updates.put((row, answer))


def _drain(updates: _Updates, done: list[Completion]) -> bool:
    """Wait a moment, then take all updates there are; return whether any came."""
    try:
        row, news = updates.get(timeout=PATIENCE)
    except queue.Empty:
        return False
    while True:
        if isinstance(news, Exception):
            raise news
        done[row] = news
        try:
            row, news = updates.get_nowait()
        except queue.Empty:
            return True
