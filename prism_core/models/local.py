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
from prism_core.inference.branch_scoring import can_pack
from prism_core.inference.cpu.fused_llama import LeanDecoder, is_lean
from prism_core.inference.decoding import decode
from prism_core.inference.logprobs import answer_logprobs, choice_logprobs
from prism_core.inference.prefill import Router
from prism_core.inference.sampling import check_sampling
from prism_core.inference.stopping import stoppable
from prism_core.lora.weights import LoraWeights
from prism_core.models.chat import encode_prompt, encode_text, has_system_role
from prism_core.models.generator import Seed
from prism_core.models.thoughts import split_thought
from prism_core.models.weights import LoadedWeights, load_weights, resolve
from prism_core.progress import Progress
from prism_core.types import ChoiceScore, Completion, Finish, Prompt, Sampling, TokenScore

MAX_ROWS = 128
"""Rows decoded together at the most; more gain nothing on a CPU."""
CACHE_BYTES = 3_000_000_000
"""Memory that one batch's key-value cache may take."""
SCORED_TOKENS = 6_144
"""Tokens read together where logits of many positions are needed (they take V floats each)."""

RouterFactory = Callable[[Sequence[int]], Router]
"""Makes the router of one batch from the indices of its rows in the caller's list."""


@dataclass
class _Row:
    """What is known of one row while it is decoded."""

    prompt: list[int]
    ids: list[int] = field(default_factory=list)
    first: float | None = None
    last: float = 0.0
    finish: Finish = "running"


class LocalModel:
    """A causal language model on this machine: `Generator` and `TokenScorer`."""

    continues_answers = True
    """A prompt that ends with an assistant's turn is continued from there."""

    def __init__(self, weights: LoadedWeights) -> None:
        self.weights = weights
        self.model: PreTrainedModel = weights.model
        self.tokenizer: PreTrainedTokenizerBase = weights.tokenizer
        self.lock = threading.RLock()
        self._has_system_role = has_system_role(self.tokenizer)
        self._stop_ids = _stop_ids(self.model, self.tokenizer)
        self._cell_bytes = _cache_bytes_per_token(self.model)
        self._packed: LeanDecoder | None = None

    @classmethod
    def load(
        cls,
        reference: str = "embedded",
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        progress: Progress | None = None,
    ) -> LocalModel:
        """Load a model by name, folder or file; see `prism_core.models.weights.resolve`.

        Raises:
            InputError, NotFoundError: the reference is not a model that may be loaded.
            ModelError: its weights could not be fetched or read.
        """
        source = resolve(reference)
        return cls(load_weights(source, device=device, dtype=dtype, progress=progress))

    @property
    def name(self) -> str:
        """The model's name as shown to people."""
        return self.weights.source.label

    @property
    def fingerprint(self) -> str:
        """Identity of weights, dtype and chat template."""
        return self.weights.fingerprint

    @property
    def has_system_role(self) -> bool:
        """Whether the chat template takes a system turn."""
        return self._has_system_role

    @property
    def stop_ids(self) -> frozenset[int]:
        """Every token id that ends an answer."""
        return self._stop_ids

    @property
    def context_tokens(self) -> int:
        """The most tokens that prompt and answer may have together."""
        return int(getattr(self.model.config, "max_position_embeddings", 2048) or 2048)

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
        router: RouterFactory | None = None,
    ) -> list[Completion]:
        """Answer every prompt, in the order given. See `Generator.generate`."""
        start = time.perf_counter()
        rows = self._rows(prompts, sampling)
        for _ in self._decode(rows, sampling, seed, start, cancel, router):
            pass
        return [self._completion(row) for row in rows]

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
        router: RouterFactory | None = None,
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far after every token. See `Generator.stream`."""
        start = time.perf_counter()
        rows = self._rows(prompts, sampling)
        done = [self._completion(row) for row in rows]
        for changed in self._decode(rows, sampling, seed, start, cancel, router):
            for i in changed:
                done[i] = self._completion(rows[i])
            yield list(done)

    def score_choices(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        *,
        cancel: threading.Event | None = None,
        adapter: LoraWeights | None = None,
    ) -> list[list[ChoiceScore]]:
        """Log-likelihood of each choice as the start of the answer, with the adapter if given.

        Raises:
            InputError: a choice is empty, or a prompt is too long.
            CancelledError: `cancel` was set.
        """
        rows = [self._encode(p) for p in prompts]
        encoded = [[encode_text(self.tokenizer, c) for c in row] for row in choices]
        for texts, row in zip(choices, encoded, strict=True):
            if not row or any(not ids for ids in row):
                raise InputError(f"A choice is empty: {list(texts)!r}. Every choice needs text.")
        scores: list[list[ChoiceScore]] = [[] for _ in prompts]
        width = [len(r) + sum(len(c) for c in cs) for r, cs in zip(rows, encoded, strict=True)]
        # A packed pass makes its own small batches, and reads a common beginning once a call.
        limit = SCORED_TOKENS * (16 if can_pack(self.model) else 1)
        for batch in _batches(width, MAX_ROWS, limit):
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
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[str],
        *,
        adapter: LoraWeights | None = None,
    ) -> list[list[TokenScore]]:
        """Log p of each token of given answers, with the adapter if given."""
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
        for batch in _batches(width, MAX_ROWS, SCORED_TOKENS):
            with self.lock, self._with(adapter):
                lines = answer_logprobs(
                    self.model, [rows[i] for i in batch], [encoded[i] for i in batch]
                )
            for i, line in zip(batch, lines, strict=True):
                pieces = _pieces(self.tokenizer, encoded[i])
                scores[i] = [TokenScore(t, s) for t, s in zip(pieces, line, strict=True)]
        return scores

    def count_tokens(self, text: str) -> int:
        """Tokens of a plain text under this model's tokenizer."""
        return len(encode_text(self.tokenizer, text))

    def _rows(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[_Row]:
        check_sampling(sampling)
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
        cancel: threading.Event | None,
        router: RouterFactory | None,
    ) -> Iterator[list[int]]:
        """Decode all batches; yield the indices of the rows that grew."""
        seeds = [seed] * len(rows) if isinstance(seed, int) else list(seed)
        if len(seeds) != len(rows):
            raise InputError(f"{len(rows)} prompts need as many seeds; {len(seeds)} were given.")
        cells = int(CACHE_BYTES // self._cell_bytes)
        lean = self._lean()
        width = [len(r.prompt) + sampling.max_new_tokens for r in rows]
        for batch in _batches(width, MAX_ROWS, cells):
            steps = decode(
                self.model,
                [rows[i].prompt for i in batch],
                sampling,
                [seeds[i] for i in batch],
                self._stop_ids,
                cancel=cancel,
                lock=self.lock,
                router=router(batch) if router else None,
                lean=lean,
            )
            for step in steps:
                now = time.perf_counter() - start
                for local, token in step:
                    self._grow(rows[batch[local]], token, now, sampling)
                yield [batch[local] for local, _ in step]
        if cancel is not None and cancel.is_set():
            cut = [i for i, row in enumerate(rows) if row.finish == "running"]
            for i in cut:
                rows[i].finish = "cancelled"
            yield cut

    def _with(self, adapter: LoraWeights | None) -> AbstractContextManager[None]:
        return adapter.active(self.model) if adapter else nullcontext()

    def _lean(self) -> Callable[[], LeanDecoder] | None:
        """How to get the weights packed for decoding; None where the library's layers decode."""
        with self.lock:
            return self._pack if is_lean(self.model) else None

    def _pack(self) -> LeanDecoder:
        if self._packed is None or not self._packed.fits(self.model):
            self._packed = LeanDecoder(self.model)
        return self._packed

    def _grow(self, row: _Row, token: int, now: float, sampling: Sampling) -> None:
        row.first = now if row.first is None else row.first
        row.last = now
        row.ids.append(token)
        if token in self._stop_ids:
            row.finish = "stop"
        elif len(row.ids) >= sampling.max_new_tokens:
            row.finish = "length"

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


def _batches(width: Sequence[int], max_rows: int, max_cells: int) -> Iterator[list[int]]:
    """Indices in batches of similar width whose padded size stays within `max_cells`."""
    batch: list[int] = []
    for i in sorted(range(len(width)), key=lambda i: -width[i]):
        if batch and (len(batch) >= max_rows or width[batch[0]] * (len(batch) + 1) > max_cells):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every id that ends an answer, from the tokenizer and the generation settings."""
    settings = getattr(model, "generation_config", None)
    listed = getattr(settings, "eos_token_id", None)
    ids = list(listed) if isinstance(listed, list | tuple) else [listed]
    return frozenset(int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None)


def _cache_bytes_per_token(model: PreTrainedModel) -> int:
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)


def _pieces(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    """Each token's own text; together they spell the answer."""
    pieces, before = [], ""
    for end in range(1, len(ids) + 1):
        whole = str(tokenizer.decode(ids[:end])).rstrip("\ufffd")
        pieces.append(whole[len(before) :])
        before = whole
    return pieces
