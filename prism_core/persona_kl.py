"""How far a model is from its own answers with the persona: KL to the persona teacher.

For every arm of a comparison the same answers are forced behind the neutral prompt, and the KL from
the teacher (the base with the persona in its prompt) is averaged over an answer's tokens, at
temperature 1. It is the KL of the teacher's top tokens and "any other": a close lower bound of the
full one (see `prism_core.losses`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from transformers import PreTrainedModel

from prism_core.adapters import LoraWeights
from prism_core.errors import InputError
from prism_core.forcing import AnswerStates, Forced, VariantOf, force, head_of, pad_forced
from prism_core.losses import CHUNK, topk_kl
from prism_core.models import LocalModel
from prism_core.records import AnswerPair
from prism_core.teacher import Teacher, TeacherSpec, Tick, teach_in_memory
from prism_core.training_plan import micro_batches

_TOP_K = 64
_BATCH_TOKENS = 2_048


class PersonaTeacher:
    """The persona teacher on fixed answers; measures any number of students against it."""

    def __init__(
        self,
        pairs: Sequence[AnswerPair],
        variant_of: VariantOf,
        model: LocalModel,
        *,
        max_tokens: int = 1024,
        tick: Tick = lambda _done: None,
    ) -> None:
        """Read all answers with the persona once; `tick` hears how many are done, and may raise."""
        forced = force(pairs, variant_of, model, max_tokens)
        self.model, self._samples = model, forced.samples
        place = {sample.key: i for i, sample in enumerate(forced.samples)}
        self._places = [place.get(pair.query.id) for pair in pairs]
        self._teacher: Teacher | None = None
        if forced.samples:
            with model.lock:
                spec = TeacherSpec(_TOP_K, 1.0)
                self._teacher = teach_in_memory(forced.samples, model, spec, tick)

    def kls(
        self, lora: LoraWeights | None = None, opened: Sequence[bool] | None = None
    ) -> list[float | None]:
        """KL of every answer in nats a token, None for an answer without text or room.

        Args:
            lora: the adapter of the arm; None for the base with the neutral prompt.
            opened: for each pair whether the adapter is on; None where it always is.

        Raises:
            InputError: `opened` has another length than the pairs.
        """
        pairs = len(self._places)
        on = list(opened) if opened is not None else [True] * pairs
        if len(on) != pairs:
            raise InputError(f"{pairs} answers need as many gate decisions; {len(on)} were given.")
        found: dict[int, float] = {}
        for adapted in (False, True):
            rows = zip(self._places, on, strict=True)
            which = [p for p, o in rows if p is not None and o is adapted]
            found |= self._measure(which, lora if adapted else None)
        return [found.get(p) if p is not None else None for p in self._places]

    def _measure(self, which: Sequence[int], lora: LoraWeights | None) -> dict[int, float]:
        if not which or self._teacher is None:
            return {}
        base = self.model.model
        with self.model.lock, lora.active(base) if lora is not None else nullcontext():
            kls = mean_kls(base, self._samples, self._teacher, which, _BATCH_TOKENS)
        return dict(zip(which, kls, strict=True))


@torch.no_grad()
def mean_kls(
    model: PreTrainedModel,
    samples: Sequence[Forced],
    teacher: Teacher,
    which: Sequence[int],
    max_tokens: int,
) -> list[float]:
    """KL from teacher to student at temperature 1, in nats a token, for the samples `which`.

    The model is read as it stands, with whatever LoRA is on it, in batches of at most `max_tokens`.
    """
    states_of, logits_of = AnswerStates(model.get_decoder()), head_of(model)
    lengths = [len(s.student) + len(s.answer) for s in samples]
    found: dict[int, float] = {}
    for part in micro_batches(which, lengths, max_tokens):
        chosen = [samples[i] for i in part]
        ids, index = pad_forced([s.student for s in chosen], chosen, model.device)
        states, rows = states_of(ids, index), teacher.of(part, model.device)
        logprobs = rows.logprobs(1.0)
        chunks = []
        for start in range(0, len(states), CHUNK):
            span = slice(start, start + CHUNK)
            chunks.append(topk_kl(logits_of(states[span]), rows.ids[span], logprobs[span]))
        lines = torch.cat(chunks).split([s.positions for s in chosen])
        found.update((i, float(kl.double().mean())) for i, kl in zip(part, lines, strict=True))
    return [found[i] for i in which]
