"""A local model as a `Generator`.

One class for every decoder that transformers can load. Prompts are sorted by length and decoded in
batches whose key-value cache fits a fixed share of memory; each row has its own random numbers, so
its text does not depend on its batch mates. One lock a model keeps forward passes apart, so that
several visitors' streams may interleave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prism_core.errors import CancelledError, InputError
from prism_core.inference.backend import Backend, FastPath, fast_path
from prism_core.inference.branch_scoring import can_branch
from prism_core.inference.engine import Engine
from prism_core.inference.logprobs import answer_logprobs, choice_logprobs
from prism_core.inference.rows import Row, Rows
from prism_core.inference.scheduler import MAX_ROWS, Scheduler
from prism_core.inference.stopping import stoppable
from prism_core.inference.widths import batches_by_width
from prism_core.lora.weights import LoraWeights
from prism_core.models.chat import encode_prompt, encode_text, has_system_role
from prism_core.models.generator import (
    BaseGenerator,
    Prompts,
    Request,
    Seed,
    check_choices,
    requests_of,
)
from prism_core.models.sources import resolve
from prism_core.models.thoughts import split_thought
from prism_core.models.weights import LoadedWeights, load_weights
from prism_core.progress import Cancel, Progress
from prism_core.types import ChoiceScore, Completion, Finish, Prompt, Sampling, TokenScore
from prism_core.utils.fair_lock import FairLock
from prism_core.utils.lru import LRU
from prism_core.utils.memory import CACHE_BYTES
from prism_core.utils.validation import check

ADAPTERS = 8
"""Adapters that a model keeps in memory."""
SCORED_TOKENS = 6_144
"""Tokens read together where logits of many positions are needed (they take V floats each)."""


@dataclass
class _Told:
    """A row, and what its caller was told of it."""

    row: Row
    count: int = 0  # tokens of its answer
    first: float | None = None  # seconds to the first token, and to the latest
    last: float = 0.0
    finish: Finish = "running"

    def note(self, count: int, now: float) -> None:
        self.count, self.last = count, now
        self.first = now if self.first is None else self.first
        if count == len(self.row.answer):
            self.finish = self.row.finish

    def end(self) -> None:
        self.finish = self.row.finish if self.count == len(self.row.answer) else "cancelled"


class LocalModel(BaseGenerator):
    """A causal language model on this machine: `Generator` and `TokenScorer`."""

    continues_answers = True
    """A prompt that ends with an assistant's turn is continued from there."""

    def __init__(
        self,
        weights: LoadedWeights,
        fast: Callable[[PreTrainedModel], FastPath | None] = fast_path,
        before_step: Callable[[], None] | None = None,
    ) -> None:
        """Take loaded weights.

        Args:
            weights: model, tokenizer, and where they come from.
            fast: finds the fast path that the model is decoded by, if any.
            before_step: called before each step of decoding; may wait for others.
        """
        self.weights = weights
        self.model: PreTrainedModel = weights.model
        self.tokenizer: PreTrainedTokenizerBase = weights.tokenizer
        self.name, self.fingerprint = weights.source.label, weights.fingerprint
        self.has_system_role = has_system_role(self.tokenizer)
        self.stop_ids = _stop_ids(self.model, self.tokenizer)
        self.lock = FairLock()
        """Held by whoever computes with the model; the engine gives it away between steps."""
        self.adapters: LRU[str, LoraWeights] = LRU(ADAPTERS)
        """Adapters in use, by the hash of their files: requests that name one share a batch."""
        self._backend = Backend(self.model, fast(self.model))
        self._engine = Engine(self._make_scheduler, self.lock, before_step)

    @classmethod
    def load(
        cls,
        reference: str = "embedded",
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        progress: Progress | None = None,
    ) -> LocalModel:
        """Load a model by name, folder or file; see `prism_core.models.sources.resolve`.

        Raises:
            InputError, NotFoundError: the reference is not a model that may be loaded.
            ModelError: its weights could not be fetched or read.
        """
        source = resolve(reference)
        weights = load_weights(source, device=device, dtype=dtype, progress=progress)
        return cls(weights, before_step=progress.give_way if progress else None)

    @property
    def context_tokens(self) -> int:
        """The most tokens that prompt and answer may have together."""
        return int(getattr(self.model.config, "max_position_embeddings", 2048) or 2048)

    def answer(
        self, requests: Sequence[Request], *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far; see `Generator.answer`."""
        start = time.perf_counter()
        rows = [self._row(request) for request in requests]
        return self._answers(rows, self._decode(requests, rows, start, cancel))

    def generate(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> list[Completion]:
        """Return the whole answers, without making up what they were on the way."""
        start = time.perf_counter()
        requests = requests_of(prompts, sampling, seed)
        rows = [self._row(request) for request in requests]
        for _ in self._decode(requests, rows, start, cancel):
            pass
        return [self._completion(row) for row in rows]

    def write(
        self,
        prompts: Rows,
        sampling: Sampling,
        seeds: Sequence[int],
        *,
        stop_ids: frozenset[int] | None = None,
        adapters: Sequence[LoraWeights | None] | None = None,
        cancel: Cancel = None,
    ) -> Iterator[list[Row]]:
        """Answer token rows; yield them after every step, their answers so far in them.

        A row that needs no more tokens may be given `finish = "stop"` by the caller.
        """
        used = adapters if adapters is not None else [None] * len(prompts)
        ends = self.stop_ids if stop_ids is None else stop_ids
        rows = [
            Row(list(ids), sampling, seed, ends, adapter)
            for ids, seed, adapter in zip(prompts, seeds, used, strict=True)
        ]
        for _ in self._engine.decode(rows, cancel=cancel):
            yield rows

    def score_choices(
        self,
        prompts: Prompts,
        choices: Sequence[Sequence[str]],
        *,
        cancel: Cancel = None,
        adapter: LoraWeights | None = None,
    ) -> list[list[ChoiceScore]]:
        """Return each choice's log-likelihood, with the adapter if given."""
        check_choices(choices)
        rows = [self._encode(p) for p in prompts]
        encoded = [[encode_text(self.tokenizer, c) for c in row] for row in choices]
        scores: list[list[ChoiceScore]] = [[] for _ in prompts]
        width = [len(r) + sum(len(c) for c in cs) for r, cs in zip(rows, encoded, strict=True)]
        # A branching pass makes its own small batches; it reads a common beginning once a call.
        limit = SCORED_TOKENS * (16 if can_branch(self.model) else 1)
        for batch in batches_by_width(width, limit, MAX_ROWS):
            if cancel is not None and cancel.is_set():
                raise CancelledError("scoring was stopped on request")
            with self.lock, stoppable(self.model, cancel), self._with(adapter):
                sums = choice_logprobs(
                    self.model, [rows[i] for i in batch], [encoded[i] for i in batch]
                )
            for i, line in zip(batch, sums, strict=True):
                scores[i] = [
                    ChoiceScore(s, len(ids)) for s, ids in zip(line, encoded[i], strict=True)
                ]
        return scores

    def score_tokens(
        self, prompts: Prompts, answers: Sequence[str], *, adapter: LoraWeights | None = None
    ) -> list[list[TokenScore]]:
        """Return log p of each token of given answers, with the adapter if given."""
        rows = [self._encode(p) for p in prompts]
        encoded = [encode_text(self.tokenizer, a) for a in answers]
        if any(not ids for ids in encoded):
            raise InputError("An answer to be scored is empty; it needs at least one token.")
        width = [len(r) + len(a) for r, a in zip(rows, encoded, strict=True)]
        if max(width) > self.context_tokens:
            raise InputError(
                f"Prompt and answer have {max(width):,} tokens together; this model reads "
                f"{self.context_tokens:,}."
            )
        scores: list[list[TokenScore]] = [[] for _ in prompts]
        for batch in batches_by_width(width, SCORED_TOKENS, MAX_ROWS):
            with self.lock, self._with(adapter):
                lines = answer_logprobs(
                    self.model, [rows[i] for i in batch], [encoded[i] for i in batch]
                )
            for i, line in zip(batch, lines, strict=True):
                pieces = _pieces(self.tokenizer, encoded[i])
                scores[i] = [TokenScore(t, s) for t, s in zip(pieces, line, strict=True)]
        return scores

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a plain text."""
        return len(encode_text(self.tokenizer, text))

    def _row(self, request: Request) -> _Told:
        sampling = request.sampling
        check(sampling)
        ids = self._encode(request.prompt, sampling.max_new_tokens)
        return _Told(Row(ids, sampling, request.seed, self.stop_ids, request.adapter))

    def _encode(self, prompt: Prompt, room: int = 1) -> list[int]:
        ids = encode_prompt(self.tokenizer, prompt)
        if not ids:
            raise InputError("The prompt is empty; it needs at least one token.")
        if len(ids) + room > self.context_tokens:
            raise InputError(
                f"The prompt has {len(ids):,} tokens and the answer may have {room:,}; this model "
                f"reads {self.context_tokens:,} together. Shorten the question or the answer."
            )
        return ids

    def _answers(
        self, rows: list[_Told], changes: Iterator[set[int]]
    ) -> Iterator[list[Completion]]:
        done = [self._completion(row) for row in rows]
        for changed in changes:
            for i in changed:
                done[i] = self._completion(rows[i])
            yield list(done)

    def _decode(
        self, requests: Sequence[Request], rows: list[_Told], start: float, cancel: Cancel
    ) -> Iterator[set[int]]:
        """Decode all rows; yield the indices of those that changed."""
        owner = next((r.owner for r in requests if r.owner), None)
        news = self._engine.decode([row.row for row in rows], owner=owner, cancel=cancel)
        for one in news if rows else ():
            if one.is_over:
                for row in rows:
                    row.end()
                yield set(range(len(rows)))
            # What was decoded after the wish to stop is held back, so that it is obeyed at once.
            elif cancel is None or not cancel.is_set():
                for i, count in one.grown:
                    rows[i].note(count, one.time - start)
                yield {i for i, _ in one.grown}

    def _make_scheduler(self) -> Scheduler:
        cells = CACHE_BYTES // cache_bytes_per_token(self.model)
        return Scheduler(self._backend.batch, self._backend.give_up, cells)

    def _with(self, adapter: LoraWeights | None) -> AbstractContextManager[None]:
        return adapter.active(self.model) if adapter else nullcontext()

    def _completion(self, told: _Told) -> Completion:
        raw = str(self.tokenizer.decode(told.row.answer[: told.count], skip_special_tokens=True))
        thought, text = split_thought(raw)
        running = told.finish == "running"
        return Completion(
            # A character of several tokens shows as U+FFFD until its last token is there.
            text=text.rstrip("\ufffd") if running else text.strip(),
            thought=thought,
            prompt_tokens=len(told.row.prompt),
            tokens=told.count,
            first_token_seconds=told.first,
            seconds=told.last,
            finish=told.finish,
        )


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Find every id that ends an answer, by the tokenizer and the generation settings."""
    settings = getattr(model, "generation_config", None)
    listed = getattr(settings, "eos_token_id", None)
    ids = list(listed) if isinstance(listed, list | tuple) else [listed]
    return frozenset(int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None)


def cache_bytes_per_token(model: PreTrainedModel) -> int:
    """Return the bytes of one token's keys and values in all layers."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)


def _pieces(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    """Decode each token by itself; together the pieces spell the answer."""
    pieces, before = [], ""
    for end in range(1, len(ids) + 1):
        whole = str(tokenizer.decode(ids[:end])).rstrip("\ufffd")
        pieces.append(whole[len(before) :])
        before = whole
    return pieces
