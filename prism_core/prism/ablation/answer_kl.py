"""Measure how far a system is from the persona teacher: the full KL on given answers, nats a token.

The teacher is the base with the persona in its prompt. It and the system under test read the same
persona answers, each after its own prompt, and KL(teacher || system) over the whole vocabulary is
averaged over an answer's tokens, its end included (temperature 1). The teacher's states in front
of the head are kept (h floats a token), its logits (V floats) exist for one chunk at a time.
Training and its own curve use the cheaper KL of the teacher's top tokens; see
`prism_core.prism.distillation.losses`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from prism_core.errors import InputError
from prism_core.inference.stopping import stoppable
from prism_core.lora.weights import LoraWeights
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import VariantOf
from prism_core.prism.distillation.losses import CHUNK
from prism_core.prism.distillation.teacher_forcing import (
    BATCH_TOKENS,
    AnswerStates,
    ForcedAnswer,
    force,
    head_of,
    pad_forced,
)
from prism_core.prism.distillation.training_plan import micro_batches
from prism_core.prism.records import AnswerPair
from prism_core.progress import Progress
from prism_core.types import Prompt


@dataclass(frozen=True)
class KlQuestion:
    """One answer to be read by one system."""

    answer: int
    """Which of the answers, by its place."""
    prompt: Prompt
    is_adapted: bool


_Reading = tuple[tuple[int, ...], ForcedAnswer]
"""A prompt's token ids, and the answer that is read after it."""


class AnswerKl:
    """The persona teacher on fixed answers, read once; measures any number of systems."""

    def __init__(
        self,
        pairs: Sequence[AnswerPair],
        variant_of: VariantOf,
        model: LocalModel,
        progress: Progress,
        *,
        max_tokens: int = 1024,
    ) -> None:
        """Read every answer with its persona; longer ones are cut to `max_tokens`, prompt included.

        Raises:
            CancelledError: stopped on request.
        """
        samples = {s.key: s for s in force(pairs, variant_of, model, max_tokens)}
        self.model, self._progress = model, progress
        self._samples = [samples.get(pair.query.id) for pair in pairs]
        readings = {i: (s.teacher, s) for i, s in enumerate(self._samples) if s is not None}
        self._teacher = dict(self._states(readings, None))

    @torch.inference_mode()
    def kls(
        self, questions: Sequence[KlQuestion], lora: LoraWeights | None = None
    ) -> list[float | None]:
        """Measure KL(teacher || system) for each question, in nats a token.

        It is None where the answer has no text or does not fit after the prompt.

        Raises:
            InputError: a question is adapted, and there is no adapter.
            ModelError: the model's logits cannot be computed from its states.
            CancelledError: stopped on request.
        """
        if lora is None and any(q.is_adapted for q in questions):
            raise InputError("A question is to be read with an adapter, and none was given.")
        found: dict[int, float] = {}
        for is_adapted in (False, True):
            rows = [n for n, q in enumerate(questions) if q.is_adapted is is_adapted]
            found |= self._measure(rows, questions, lora if is_adapted else None)
        return [found.get(n) for n in range(len(questions))]

    def _measure(
        self, rows: Sequence[int], questions: Sequence[KlQuestion], lora: LoraWeights | None
    ) -> dict[int, float]:
        found: dict[int, float] = {}
        readings: dict[int, _Reading] = {}
        for n in rows:
            sample = self._samples[questions[n].answer]
            ids = tuple(encode_prompt(self.model.tokenizer, questions[n].prompt))
            if sample is None or len(ids) + len(sample.answer) > self.model.context_tokens:
                continue
            if lora is None and ids == sample.teacher:
                found[n] = 0.0  # the teacher itself: the same weights read the same tokens
            else:
                readings[n] = (ids, sample)
        logits_of = head_of(self.model.model)
        for n, states in self._states(readings, lora):
            teacher = self._teacher[questions[n].answer]
            total = 0.0
            for start in range(0, len(states), CHUNK):
                span = slice(start, start + CHUNK)
                kl = full_kl(logits_of(teacher[span]), logits_of(states[span]))
                total += float(kl.double().sum())
            found[n] = total / len(states)
        return found

    @torch.inference_mode()
    def _states(
        self, readings: Mapping[int, _Reading], lora: LoraWeights | None
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield each key with the states (N, h) that predict its answer, batched by length."""
        model, keys = self.model.model, list(readings)
        lengths = [len(prompt) + len(sample.answer) for prompt, sample in readings.values()]
        states_of = AnswerStates(model.get_decoder())
        for part in micro_batches(range(len(keys)), lengths, BATCH_TOKENS):
            self._progress.check()
            prompts, samples = zip(*(readings[keys[n]] for n in part), strict=True)
            ids, index = pad_forced(prompts, samples, model.device)
            adapter = lora.active(model) if lora is not None else nullcontext()
            with self.model.lock, stoppable(model, self._progress.cancel), adapter:
                states = states_of(ids, index)
            split = states.split([s.positions for s in samples])
            yield from ((keys[n], rows) for n, rows in zip(part, split, strict=True))


def full_kl(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Return KL(teacher || student) of two sets of logits (N, V), in nats; shape (N,)."""
    log_p = teacher.float().log_softmax(dim=-1)
    log_q = student.float().log_softmax(dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)
