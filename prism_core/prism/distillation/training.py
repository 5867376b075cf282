"""Stage 5, distillation: the student learns to answer without the persona as if it had it.

1. Teacher: the base with the persona in its prompt. Student: base + LoRA with the neutral prompt.
2. Both are forced along the persona's answers; the teacher's top-k logits are cached once.
3. AdamW on T^2 KL(teacher || student) a token, batches padded by length, or plain SFT.
4. On answers held out by group, the KL at temperature 1 is measured before, between and after.
5. The loop may be stopped and goes on to the bit. PRISM, section 4.3 and its settings.
Departures: the paper gives no schedule; the default is a short rise and a cosine fall. The released
code empties the persona's prompt before the teacher reads it, so that nothing is distilled.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from prism_core.errors import CancelledError, InputError
from prism_core.lora.files import WEIGHTS_FILE
from prism_core.lora.training import save_lora, stoppable_training, trainable_lora
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import VariantOf
from prism_core.prism.distillation.checkpoints import Position, load_checkpoint, save_checkpoint
from prism_core.prism.distillation.report import CurvePoint, DistillConfig, DistillReport
from prism_core.prism.distillation.student import Student
from prism_core.prism.distillation.teacher import (
    Teacher,
    TeacherSpec,
    cache_teacher_logits,
    load_teacher,
    mean_kls,
)
from prism_core.prism.distillation.teacher_forcing import ForcedAnswer, force
from prism_core.prism.distillation.training_plan import TrainingPlan, learning_rate
from prism_core.prism.records import AnswerPair
from prism_core.prism.splits import group_of, split_by_group
from prism_core.progress import Progress
from prism_core.stats import mean_of
from prism_core.storage.journal import Journal
from prism_core.storage.values import dumps, pack, unpack
from prism_core.utils.cache_folder import sha256_of
from prism_core.utils.memory import peak_memory_bytes
from prism_core.utils.validation import check

STAGE = "distillation"
CURVE_STAGE = "distillation_curve"
WORK_FOLDER = "work"
"""Holds the teacher's files and the checkpoint, in the adapter's folder until the run is done."""
_RESULT = "result"


@dataclass(frozen=True)
class _Data:
    """Answers ready for training, and those held out."""

    train: list[ForcedAnswer]
    held_out: list[ForcedAnswer]
    dropped: int


def distill(
    config: DistillConfig,
    pairs: Sequence[AnswerPair],
    variant_of: VariantOf,
    model: LocalModel,
    folder: Path,
    journal: Journal,
    progress: Progress,
    *,
    held_out: Sequence[AnswerPair] | None = None,
    start: Path | None = None,
) -> DistillReport:
    """Train a LoRA on the distill set and save it; goes on where an earlier call stopped.

    The distill set is answers whose persona won, `held_out` those to measure on; by default a share
    of `pairs` is kept back, by group. The base is locked meanwhile, and is as before afterwards.
    The folder becomes a PEFT folder; in a further round, training goes on from the adapter `start`.

    Raises:
        InputError: a setting is not allowed, or no answer can be trained on.
        ModelError: the model lacks the projections that a LoRA is put on.
        CancelledError: stopped on request; a later call goes on from that very step.
    """
    check(config)
    data = _prepare(config, pairs, held_out, variant_of, model)
    if not data.train:
        raise InputError(
            f"There is nothing to distil: none of {len(pairs)} answers can be trained on."
        )
    digest = _digest(config, data, model, start)
    done = journal.load(STAGE).get(_RESULT)
    if done is not None and done["digest"] == digest and (folder / WEIGHTS_FILE).exists():
        return unpack(DistillReport, done["report"])
    with model.lock, stoppable_training(model.model, progress):
        run = _Run(config, data, model, folder, journal, progress, digest)
        report = run.train(start)
    if run.is_main:
        journal.save(STAGE, {_RESULT: {"digest": digest, "report": pack(report)}})
        shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)
    return report


@dataclass
class _Run:
    """One training run: what stays the same while the steps go by."""

    config: DistillConfig
    data: _Data
    model: LocalModel
    folder: Path
    journal: Journal
    progress: Progress
    digest: str

    def __post_init__(self) -> None:
        config = self.config
        self.accelerator = Accelerator(cpu=self.model.model.device.type == "cpu")
        lengths = tuple(len(s.student) + len(s.answer) for s in self.data.train)
        self.plan = TrainingPlan(lengths, config.batch, config.epochs, config.seed)
        self.work = self.folder / WORK_FOLDER
        self.curve: list[CurvePoint] = []
        self.before: list[float] = []
        self.seconds = 0.0
        self._unsaved: list[CurvePoint] = []
        self._saved_at = time.monotonic()

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self.accelerator.is_main_process)

    def train(self, start: Path | None) -> DistillReport:
        """Loop from the last checkpoint, or the beginning, to the saved adapter."""
        config, plan, base = self.config, self.plan, self.model.model
        teacher = self._teacher(self.data.train, "train") if config.loss == "kl" else None
        unseen = self._teacher(self.data.held_out, "held_out")
        with trainable_lora(base, config.rank, config.alpha, config.seed, start) as peft:
            student = Student(base, peft, self.data.train, teacher, config, self.accelerator)
            first = self._resume(student)
            if not self.curve:
                self.before = self._kls(unseen)
                self._add(CurvePoint(0, 0.0, held_out=_mean(self.before)))
            after = self.before
            for step in range(first, plan.steps):
                point = self._step(student, step)
                if (step + 1) % plan.steps_per_epoch == 0:
                    after = self._kls(unseen)
                    point = replace(point, held_out=_mean(after))
                self._add(point)
                self._checkpoint(student, step + 1)
            if first == plan.steps:  # killed between the last checkpoint and the result
                after = self._kls(unseen)
            if self.is_main:
                save_lora(peft, self.folder, self.model.name, config.save_dtype)
        self._flush()
        self.accelerator.wait_for_everyone()
        return self._report(after)

    def _step(self, student: Student, step: int) -> CurvePoint:
        """Update once; if that is interrupted, the state before it is kept."""
        self.progress.update(STAGE, step, self.plan.steps, self._note())
        config = self.config
        rate = learning_rate(step, self.plan.steps, config.lr, config.warmup, config.schedule)
        began = time.perf_counter()
        try:
            loss = student.step(self.plan.rows(step), rate)
        except CancelledError:
            student.forget_gradients()
            self._checkpoint(student, step, now=True)
            raise
        self.seconds += time.perf_counter() - began
        return CurvePoint(step + 1, (step + 1) / self.plan.steps_per_epoch, loss, rate)

    def _teacher(self, samples: Sequence[ForcedAnswer], name: str) -> Teacher | None:
        if not samples:
            return None
        spec = TeacherSpec(self.config.top_k, self.config.temperature)
        where = self.work / "teacher" / name
        share = (self.accelerator.process_index, self.accelerator.num_processes)

        def tick(done: int) -> None:
            self.progress.check()
            self.progress.update("teacher", done, len(samples), "reading answers with the persona")

        cache_teacher_logits(samples, self.model, spec, where, tick, share)
        self.accelerator.wait_for_everyone()
        return load_teacher(samples, self.model, spec, where)

    def _kls(self, teacher: Teacher | None) -> list[float]:
        """Measure the KL of every held-out answer, each process its share."""
        if teacher is None:
            return []
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = list(range(rank, len(self.data.held_out), world))
        tokens = self.config.micro_tokens
        found = mean_kls(self.model.model, self.data.held_out, teacher, mine, tokens)
        together: dict[int, float] = dict(gather_object(list(zip(mine, found, strict=True))))
        return [together[i] for i in range(len(self.data.held_out))]

    def _resume(self, student: Student) -> int:
        """Go back to the last checkpoint of this very run; return the next step."""
        position = load_checkpoint(self.work, student.params, student.adam, self.digest)
        if position is None:
            return 0
        notes = position.notes
        self.curve = [unpack(CurvePoint, one) for one in notes["curve"]]
        self.before, self.seconds = list(notes["before"]), notes["seconds"]
        return position.step

    def _checkpoint(self, student: Student, step: int, now: bool = False) -> None:
        due = time.monotonic() - self._saved_at >= self.config.checkpoint_seconds
        if not self.is_main or not (due or now or step == self.plan.steps):
            return
        notes = {"curve": pack(self.curve), "before": self.before, "seconds": self.seconds}
        save_checkpoint(self.work, student.params, student.adam, Position(step, notes), self.digest)
        self._flush()
        self._saved_at = time.monotonic()

    def _add(self, point: CurvePoint) -> None:
        self.curve.append(point)
        self._unsaved.append(point)
        if self._unsaved[0].step + 8 <= point.step or point.held_out is not None:
            self._flush()

    def _flush(self) -> None:
        """Write the curve's new points to the journal."""
        if self.is_main and self._unsaved:
            parts = {f"step-{p.step:06d}": pack(p) for p in self._unsaved}
            self.journal.save(CURVE_STAGE, parts)
        self._unsaved = []

    def _note(self) -> str:
        losses = [p.loss for p in self.curve if p.loss is not None]
        return f"loss {losses[-1]:.4f}" if losses else "first step"

    def _report(self, after: Sequence[float]) -> DistillReport:
        self.progress.update(STAGE, self.plan.steps, self.plan.steps, "done")
        change = [a - b for a, b in zip(after, self.before, strict=True)]
        return DistillReport(
            curve=tuple(self.curve),
            kl_before=mean_of(self.before),
            kl_after=mean_of(after),
            kl_change=mean_of(change),
            trained=tuple(s.key for s in self.data.train),
            held_out=tuple(s.key for s in self.data.held_out),
            dropped=self.data.dropped,
            steps=self.plan.steps,
            tokens=sum(self.plan.lengths) * self.config.epochs,
            seconds=self.seconds,
            peak_memory_bytes=peak_memory_bytes(),
            config=self.config,
        )


def _prepare(
    config: DistillConfig,
    pairs: Sequence[AnswerPair],
    held_out: Sequence[AnswerPair] | None,
    variant_of: VariantOf,
    model: LocalModel,
) -> _Data:
    """Encode the answers; without answers to measure on, keep a share of the groups back."""
    train = list(pairs)
    if held_out is None:
        held_out = []
        if config.held_out_share > 0 and pairs:
            groups = group_of([p.query for p in pairs])
            shares = (1 - config.held_out_share, config.held_out_share)
            parts = split_by_group(groups, [True] * len(pairs), shares, config.seed)
            train, held_out = (
                [p for p, part in zip(pairs, parts, strict=True) if part == n] for n in (0, 1)
            )
    seen, unseen = (force(part, variant_of, model, config.max_tokens) for part in (train, held_out))
    return _Data(seen, unseen, len(train) + len(held_out) - len(seen) - len(unseen))


def _digest(config: DistillConfig, data: _Data, model: LocalModel, start: Path | None) -> str:
    """Identify everything that the result depends on."""
    start_digest = sha256_of(start / WEIGHTS_FILE) if start is not None else ""
    settings = replace(config, checkpoint_seconds=0.0)
    content = dumps([settings, data.train, data.held_out, model.fingerprint, start_digest])
    return hashlib.sha256(content.encode()).hexdigest()


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
