"""The teacher's logits along its own answers, computed once and kept; and the KL to them.

The teacher is the base model with the persona in its prompt. For every position of an answer its k
largest logits are kept with their token ids, and the log-sum-exp over all tokens at temperature 1
(to measure) and at T (to train): all that the KL in `losses` needs, at 8 k + 8 bytes a
position. They lie in a few safetensors files; a file that fits is not computed again.

`mean_kls` says how far a student is from it: answers that are not trained on are forced behind the
neutral prompt, and the KL of the teacher's top tokens and "any other token" is averaged over an
answer's positions. It is cheap, and a close lower bound of the full KL of `ablation.answer_kl`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel

from prism_core.errors import StorageError
from prism_core.models.local import LocalModel
from prism_core.prism.distillation.losses import CHUNK, top_logprobs, topk_kl
from prism_core.prism.distillation.teacher_forcing import (
    BATCH_TOKENS,
    AnswerStates,
    ForcedAnswer,
    head_of,
    pad_forced,
)
from prism_core.prism.distillation.training_plan import micro_batches
from prism_core.utils.durable import replacing

POSITIONS_PER_FILE = 8_192
"""A file holds the answers that together reach this many positions."""

Tick = Callable[[int], None]
"""Called with the number of samples done, often enough to stop there."""


@dataclass(frozen=True)
class TeacherSpec:
    """What the cached numbers depend on, besides the model and the samples."""

    top_k: int
    temperature: float


class TeacherRows(NamedTuple):
    """The teacher at N positions."""

    ids: torch.Tensor
    """Most probable tokens, shape (N, K)."""
    logits: torch.Tensor
    """Their raw logits, shape (N, K), fp32."""
    totals: torch.Tensor
    """Log-sum-exp over all tokens at temperature 1 and at T, shape (N, 2)."""

    def logprobs(self, temperature: float) -> torch.Tensor:
        """Log-probabilities (N, K): of temperature 1 by the first column, else by the second."""
        column = 0 if temperature == 1.0 else 1
        return top_logprobs(self.logits, self.totals[:, column], temperature)


@dataclass(frozen=True)
class Teacher:
    """The teacher's distributions by sample."""

    rows: Sequence[TeacherRows]
    temperature: float

    def of(self, samples: Sequence[int], device: torch.device) -> TeacherRows:
        """Return the rows of the given samples in turn."""
        ids, logits, totals = _joined([self.rows[i] for i in samples])
        return TeacherRows(ids.long().to(device), logits.to(device), totals.to(device))


def cache_teacher_logits(
    samples: Sequence[ForcedAnswer],
    model: LocalModel,
    spec: TeacherSpec,
    folder: Path,
    tick: Tick = lambda _done: None,
    share: tuple[int, int] = (0, 1),
) -> None:
    """Compute and keep the teacher's logits for all samples whose file is missing or stale.

    `tick` may raise `CancelledError`; of `share`, (rank, world), every process does its own files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = 0
    for number, part in enumerate(_parts(samples)):
        path = _path(folder, number)
        mine = number % share[1] == share[0]
        digest = _digest([samples[i] for i in part], model, spec)
        if mine and _stored_digest(path) != digest:
            rows = _read_answers([samples[i] for i in part], model, spec, tick, done)
            _write(path, rows, digest)
        done += len(part)
        tick(done)


def load_teacher(
    samples: Sequence[ForcedAnswer], model: LocalModel, spec: TeacherSpec, folder: Path
) -> Teacher:
    """Read what `cache_teacher_logits` kept.

    Raises:
        StorageError: a file is missing, damaged or made from something else.
    """
    found: list[TeacherRows] = []
    for number, part in enumerate(_parts(samples)):
        path = _path(folder, number)
        if _stored_digest(path) != _digest([samples[i] for i in part], model, spec):
            raise StorageError(f"The teacher's file {path.name} is missing or out of date.")
        with safe_open(path, "pt") as file:
            rows = TeacherRows(*(file.get_tensor(name) for name in TeacherRows._fields))
        found += _split(rows, [samples[i] for i in part])
    return Teacher(found, spec.temperature)


@torch.no_grad()
def mean_kls(
    model: PreTrainedModel,
    samples: Sequence[ForcedAnswer],
    teacher: Teacher,
    which: Sequence[int],
    max_tokens: int,
) -> list[float]:
    """Measure KL(teacher || student) at temperature 1, nats a token, of the samples `which`.

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


def _parts(samples: Sequence[ForcedAnswer]) -> Iterator[list[int]]:
    part: list[int] = []
    positions = 0
    for i, sample in enumerate(samples):
        part.append(i)
        positions += sample.positions
        if positions >= POSITIONS_PER_FILE:
            yield part
            part, positions = [], 0
    if part:
        yield part


@torch.no_grad()
def _read_answers(
    samples: Sequence[ForcedAnswer], model: LocalModel, spec: TeacherSpec, tick: Tick, done: int
) -> TeacherRows:
    """Read every sample once, in batches of similar length; `done` were read before."""
    lengths = [len(s.teacher) + len(s.answer) for s in samples]
    states_of, logits_of = AnswerStates(model.model.get_decoder()), head_of(model.model)
    found: dict[int, TeacherRows] = {}
    for batch in micro_batches(range(len(samples)), lengths, BATCH_TOKENS):
        chosen = [samples[i] for i in batch]
        ids, index = pad_forced([s.teacher for s in chosen], chosen, model.model.device)
        states = states_of(ids, index)
        chunks = [
            top_rows(logits_of(states[i : i + CHUNK]), spec) for i in range(0, len(states), CHUNK)
        ]
        found.update(zip(batch, _split(_joined(chunks), chosen), strict=True))
        tick(done + len(found))
    return _joined([found[i] for i in range(len(samples))])


def top_rows(logits: torch.Tensor, spec: TeacherSpec) -> TeacherRows:
    """Return what is kept of full logits (N, V), on the CPU."""
    logits = logits.float()
    values, ids = logits.topk(min(spec.top_k, logits.shape[-1]), dim=-1)
    totals = [logits.logsumexp(-1), (logits / spec.temperature).logsumexp(-1)]
    return TeacherRows(ids.int().cpu(), values.cpu(), torch.stack(totals, dim=1).cpu())


def _joined(rows: Sequence[TeacherRows]) -> TeacherRows:
    return TeacherRows(*(torch.cat(column) for column in zip(*rows, strict=True)))


def _split(rows: TeacherRows, samples: Sequence[ForcedAnswer]) -> list[TeacherRows]:
    """Part rows by the samples that they belong to."""
    parts = zip(*(column.split([s.positions for s in samples]) for column in rows), strict=True)
    return [TeacherRows(*part) for part in parts]


def _path(folder: Path, number: int) -> Path:
    return folder / f"teacher-{number:04d}.safetensors"


def _digest(samples: Sequence[ForcedAnswer], model: LocalModel, spec: TeacherSpec) -> str:
    parts = [model.fingerprint, spec.top_k, spec.temperature]
    content = json.dumps([parts, [[s.teacher, s.answer] for s in samples]])
    return hashlib.sha256(content.encode()).hexdigest()


def _stored_digest(path: Path) -> str | None:
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("digest")
    except (OSError, SafetensorError):
        return None  # missing or cut off: it is computed again


def _write(path: Path, rows: TeacherRows, digest: str) -> None:
    tensors = {name: column.contiguous() for name, column in rows._asdict().items()}
    with replacing(path) as partial:
        save_file(tensors, partial, {"digest": digest})
