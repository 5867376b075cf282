"""A local model as a `Generator`.

One class for every decoder that transformers can load. Prompts are sorted by length and decoded in
batches whose key-value cache fits a fixed share of memory; each row has its own random numbers, so
its text does not depend on its batch mates. One lock a model keeps forward passes apart, so that
several visitors' streams may interleave.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prism_core.errors import CancelledError, InputError
from prism_core.inference.branch_scoring import can_branch
from prism_core.inference.cpu.fused_llama import FusedDecoder, can_fuse
from prism_core.inference.decoding import decode
from prism_core.inference.logprobs import answer_logprobs, choice_logprobs
from prism_core.inference.prefill import Router, batches_by_width
from prism_core.inference.stopping import stoppable
from prism_core.lora.weights import LoraWeights
from prism_core.models.chat import encode_prompt, encode_text, has_system_role
from prism_core.models.generator import Prompts, Seed, check_choices, seeds_of
from prism_core.models.sources import resolve
from prism_core.models.thoughts import split_thought
from prism_core.models.weights import LoadedWeights, load_weights
from prism_core.progress import Cancel, Progress
from prism_core.types import ChoiceScore, Completion, Finish, Prompt, Sampling, TokenScore
from prism_core.utils.memory import CACHE_BYTES
from prism_core.utils.validation import check

MAX_ROWS = 128
"""Rows decoded together at the most; more gain nothing on a CPU."""
SCORED_TOKENS = 6_144
"""Tokens read together where logits of many positions are needed (they take V floats each)."""

RouterFactory = Callable[[Sequence[int]], Router]
"""Make the router of one batch from the indices of its rows in the caller's list."""


@dataclass
class _Row:
    """What is known of one row while it is decoded."""

    prompt: list[int]
    ids: list[int] = field(default_factory=list)
    first: float | None = None  # seconds to the first token, and to the latest
    last: float = 0.0
    finish: Finish = "running"

    def grow(self, token: int, now: float, stop_ids: frozenset[int], most: int) -> None:
        self.first = now if self.first is None else self.first
        self.last = now
        self.ids.append(token)
        if token in stop_ids:
            self.finish = "stop"
        elif len(self.ids) >= most:
            self.finish = "length"


class LocalModel:
    """A causal language model on this machine: `Generator` and `TokenScorer`."""

    continues_answers = True
    """A prompt that ends with an assistant's turn is continued from there."""

    def __init__(self, weights: LoadedWeights) -> None:
        self.weights = weights
        self.model: PreTrainedModel = weights.model
        self.tokenizer: PreTrainedTokenizerBase = weights.tokenizer
        self.name, self.fingerprint = weights.source.label, weights.fingerprint
        self.has_system_role = has_system_role(self.tokenizer)
        self.stop_ids = _stop_ids(self.model, self.tokenizer)
        self.lock = threading.RLock()
        self._decoder: FusedDecoder | None = None

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
        return cls(load_weights(source, device=device, dtype=dtype, progress=progress))

    @property
    def context_tokens(self) -> int:
        """The most tokens that prompt and answer may have together."""
        return int(getattr(self.model.config, "max_position_embeddings", 2048) or 2048)

    def generate(
        self,
        prompts: Prompts,
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: Cancel = None,
        router: RouterFactory | None = None,
    ) -> list[Completion]:
        """Answer every prompt; a router may switch an adapter row by row."""
        start = time.perf_counter()
        rows = self._rows(prompts, sampling)
        for _ in self._decode(rows, sampling, seed, start, cancel, router):
            pass
        return [self._completion(row) for row in rows]

    def stream(
        self,
        prompts: Prompts,
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: Cancel = None,
        router: RouterFactory | None = None,
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far; a router may switch an adapter row by row."""
        start = time.perf_counter()
        rows = self._rows(prompts, sampling)
        done = [self._completion(row) for row in rows]
        for changed in self._decode(rows, sampling, seed, start, cancel, router):
            for i in changed:
                done[i] = self._completion(rows[i])
            yield list(done)

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

    def _rows(self, prompts: Prompts, sampling: Sampling) -> list[_Row]:
        check(sampling)
        return [_Row(self._encode(p, sampling.max_new_tokens)) for p in prompts]

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

    def _decode(
        self,
        rows: list[_Row],
        sampling: Sampling,
        seed: Seed,
        start: float,
        cancel: Cancel,
        router: RouterFactory | None,
    ) -> Iterator[list[int]]:
        """Decode all batches; yield the indices of the rows that grew."""
        seeds = seeds_of(seed, len(rows))
        cells = CACHE_BYTES // cache_bytes_per_token(self.model)
        fused = self._fused()
        width = [len(r.prompt) + sampling.max_new_tokens for r in rows]
        for batch in batches_by_width(width, cells, MAX_ROWS):
            steps = decode(
                self.model,
                [rows[i].prompt for i in batch],
                sampling,
                [seeds[i] for i in batch],
                self.stop_ids,
                cancel=cancel,
                lock=self.lock,
                router=router(batch) if router else None,
                fused=fused,
            )
            for step in steps:
                now = time.perf_counter() - start
                for local, token in step:
                    rows[batch[local]].grow(token, now, self.stop_ids, sampling.max_new_tokens)
                yield [batch[local] for local, _ in step]
        if cancel is not None and cancel.is_set():
            cut = [i for i, row in enumerate(rows) if row.finish == "running"]
            for i in cut:
                rows[i].finish = "cancelled"
            yield cut

    def _with(self, adapter: LoraWeights | None) -> AbstractContextManager[None]:
        return adapter.active(self.model) if adapter else nullcontext()

    def _fused(self) -> Callable[[], FusedDecoder] | None:
        """Return how to get the fused decoder; None where the library's layers decode."""
        with self.lock:
            return self._fuse if can_fuse(self.model) else None

    def _fuse(self) -> FusedDecoder:
        if self._decoder is None or not self._decoder.fits(self.model):
            self._decoder = FusedDecoder(self.model)
        return self._decoder

    def _completion(self, row: _Row) -> Completion:
        raw = str(self.tokenizer.decode(row.ids, skip_special_tokens=True))
        thought, text = split_thought(raw)
        running = row.finish == "running"
        return Completion(
            # A character of several tokens shows as U+FFFD until its last token is there.
            text=text.rstrip("\ufffd") if running else text.strip(),
            thought=thought,
            prompt_tokens=len(row.prompt),
            tokens=len(row.ids),
            first_token_seconds=row.first,
            seconds=row.last,
            finish=row.finish,
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
