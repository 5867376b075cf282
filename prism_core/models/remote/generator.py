"""Any OpenAI-compatible endpoint as a `Generator`.

Every prompt is a streamed chat request in a thread of its own; their answers so far are merged into
one snapshot after another. Timeouts and retries are the `openai` client's. The key comes from the
environment, goes into the client and nowhere else: no error message holds it.

Departures from a local model: the endpoint's weights cannot be seen, so the fingerprint knows only
address and name; a row's text depends on how the server batches; choices are scored through the
older completions endpoint, without a chat template, where the server reports log-probabilities.
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from openai import BadRequestError, OpenAI, OpenAIError

from prism_core.errors import CancelledError, InputError, ModelError, RemoteError
from prism_core.models.generator import Prompts, Seed, check_choices, seeds_of
from prism_core.models.remote.answer import RemoteAnswer
from prism_core.models.remote.catalogue import unnamed_endpoint
from prism_core.models.remote.endpoint import Endpoint, check_endpoint, read_key
from prism_core.models.remote.errors import explain
from prism_core.progress import Cancel
from prism_core.types import ChoiceScore, Completion, Prompt, Sampling
from prism_core.utils.validation import check

PATIENCE = 0.05
"""Seconds between two looks at the cancel event."""
UNSCORABLE = (
    "{host} cannot score choices: it does not report the log-probabilities of a given text "
    "(completions with echo and logprobs). Use a local model for this, or another server."
)


_Updates = queue.SimpleQueue[tuple[int, Completion | Exception]]
"""What the rows' threads tell the merging loop: a row and its answer so far, or what went wrong."""


class RemoteGenerator:
    """A model behind an OpenAI-compatible endpoint: `Generator`."""

    has_system_role = True
    """Such an endpoint takes system turns and places them itself."""

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        """Connect nothing yet; the first request does.

        Raises:
            InputError: a value cannot be used; the key itself is never quoted.
        """
        self.endpoint = check_endpoint(endpoint)
        if not model.strip():
            raise InputError(f"The model's name at the endpoint '{endpoint.name}' is empty.")
        self.name, self.host, self.parallel = model, endpoint.host, endpoint.concurrency
        self._key, self._limit_field = read_key(endpoint), "max_tokens"
        identity = f"{endpoint.base_url}\0{model}".encode()
        self.fingerprint = f"remote-{hashlib.sha256(identity).hexdigest()[:16]}"
        self._client = OpenAI(
            base_url=endpoint.base_url,
            api_key=self._key or "none",
            timeout=endpoint.timeout,
            max_retries=endpoint.retries,
        )

    def generate(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> list[Completion]:
        """Answer every prompt.

        Raises:
            RemoteError: the endpoint refused, failed or did not answer.
        """
        answers: list[Completion] = []
        for snapshot in self.stream(prompts, sampling, seed, cancel=cancel):
            answers = snapshot
        return answers

    def stream(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far whenever one grew.

        Raises:
            RemoteError: the endpoint refused, failed or did not answer.
        """
        check(sampling)
        seeds = seeds_of(seed, len(prompts))
        if not all(prompts):
            raise InputError("A prompt is empty; it needs at least one message.")
        return self._merge(prompts, sampling, seeds, cancel or threading.Event())

    def score_choices(
        self, prompts: Prompts, choices: Sequence[Sequence[str]], *, cancel: Cancel = None
    ) -> list[list[ChoiceScore]]:
        """Return each choice's log-likelihood after 'Question: ... Answer:' in plain text."""
        check_choices(choices)

        def score(job: tuple[str, str]) -> ChoiceScore:
            if cancel is not None and cancel.is_set():
                raise CancelledError("scoring was stopped on request")
            return self._score_one(*job)

        jobs = [(_plain(p), c) for p, row in zip(prompts, choices, strict=True) for c in row]
        with ThreadPoolExecutor(self.parallel) as pool:
            scores = iter(list(pool.map(score, jobs)))
        return [[next(scores) for _ in row] for row in choices]

    def _merge(
        self, prompts: Prompts, sampling: Sampling, seeds: Sequence[int], cancel: threading.Event
    ) -> Iterator[list[Completion]]:
        """Start the threads, gather their updates, and stop them on the way out."""
        jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
        for row in range(len(prompts)):
            jobs.put(row)
        updates: _Updates = queue.SimpleQueue()
        stop, start = threading.Event(), time.perf_counter()

        def work() -> None:
            while not stop.is_set():
                try:
                    row = jobs.get_nowait()
                except queue.Empty:
                    return
                try:
                    for answer in self._answers(prompts[row], sampling, seeds[row], start, stop):
                        updates.put((row, answer))
                except Exception as error:  # not swallowed: raised again where it is waited for
                    updates.put((row, error))

        for _ in range(min(self.parallel, len(prompts))):
            threading.Thread(target=work, daemon=True, name="prism-remote").start()
        done = [Completion("") for _ in prompts]
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

    def _answers(
        self, prompt: Prompt, sampling: Sampling, seed: int, start: float, stop: threading.Event
    ) -> Iterator[Completion]:
        """Yield one row's answers so far, closing the connection when asked to stop."""
        answer = RemoteAnswer(start)
        try:
            with self._request(prompt, sampling, seed) as chunks:
                for chunk in chunks:
                    if stop.is_set():
                        return
                    if answer.take(chunk):
                        yield answer.completion("running")
        except OpenAIError as error:
            said = explain(error, self.endpoint, self.name, self._key, has_begun=answer.has_begun)
            raise said from None
        except json.JSONDecodeError:
            raise RemoteError(f"{self.host} does not speak the OpenAI protocol.") from None
        if answer.finish is None:
            raise RemoteError(f"{self.host} broke off in the middle of an answer.")
        yield answer.completion(answer.finish)

    def _request(self, prompt: Prompt, sampling: Sampling, seed: int) -> Any:
        """Open a streamed chat completion, in the dialect that the endpoint speaks."""
        extra: dict[str, float] = {}  # not in OpenAI's own API: sent only when asked for
        if sampling.top_k:
            extra["top_k"] = sampling.top_k
        if sampling.repetition_penalty != 1.0:
            extra["repetition_penalty"] = sampling.repetition_penalty
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [{"role": m.role, "content": m.content} for m in prompt],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            "extra_body": extra or None,
        }
        field = self._limit_field
        body[field] = sampling.max_new_tokens
        try:
            return self._client.chat.completions.create(**body)
        except BadRequestError as error:
            if field != "max_tokens" or "max_completion_tokens" not in f"{error} {error.body}":
                raise
        self._limit_field = "max_completion_tokens"  # newer models know only this name
        body["max_completion_tokens"] = body.pop("max_tokens")
        return self._client.chat.completions.create(**body)

    def _score_one(self, prompt: str, choice: str) -> ChoiceScore:
        """Sum the log-probabilities of the tokens that reach into the choice."""
        text = prompt + (choice if choice[0].isspace() else f" {choice}")
        try:
            reply = self._client.completions.create(
                model=self.name, prompt=text, max_tokens=1, echo=True, logprobs=1, temperature=0
            )
        except BadRequestError as error:
            raise ModelError(UNSCORABLE.format(host=self.host)) from error
        except OpenAIError as error:
            raise explain(error, self.endpoint, self.name, self._key) from None
        found = reply.choices[0].logprobs if reply.choices else None
        if found is None or not found.tokens or not found.token_logprobs or not found.text_offset:
            raise ModelError(UNSCORABLE.format(host=self.host))
        tokens = zip(found.tokens, found.token_logprobs, found.text_offset, strict=True)
        values = [
            logprob
            for token, logprob, offset in tokens
            if offset < len(text) and offset + len(token) > len(prompt)
        ]
        if not values or any(value is None for value in values):
            raise ModelError(UNSCORABLE.format(host=self.host))
        return ChoiceScore(float(sum(values)), len(values))


def from_environment(model: str) -> RemoteGenerator:
    """Make a remote model at `PRISM_REMOTE_URL` with the key `PRISM_REMOTE_KEY` (may be empty).

    Raises:
        InputError: the address is missing or malformed.
    """
    return RemoteGenerator(unnamed_endpoint(), model)


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


def _plain(prompt: Prompt) -> str:
    """Write a prompt as plain text that ends where the answer starts."""
    marks = {"system": "", "user": "Question: ", "assistant": "Answer: "}
    return "\n".join(f"{marks[m.role]}{m.content}" for m in prompt) + "\nAnswer:"
