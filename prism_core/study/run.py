"""A study from start to finish: every item in every cell, cached, committed as it is answered.

1. What the spec names is found: personas, items, adapters; each model's facts are read.
2. Batches in the order of the cells: known answers come from the cache, the rest from an executor.
3. Answers are graded by program and committed as they come: batch by batch from a model here, each
   turn from an endpoint. A kill loses one batch, or what was under way at the endpoint.
4. Judges, if there are any, are tried before anything is bought, and in the end compare every
   written answer with the neutral one.
The executor is this process, or a Ray cluster (`ray_executor`); both call the same `Engine`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from prism_core.errors import InputError
from prism_core.models.generator import Generator
from prism_core.models.sources import is_remote
from prism_core.progress import Progress
from prism_core.scorers.graders import grade, is_refusal
from prism_core.storage import RunRow, Store, unpack
from prism_core.storage.folder_store import new_run, open_folder, run_of_spec
from prism_core.storage.journal import StoreJournal, begin
from prism_core.study.answers import Answer, answer_key
from prism_core.study.batches import Batch, Request, batches_of
from prism_core.study.cache import AnswerCache
from prism_core.study.cells import ModelFacts, cells_of
from prism_core.study.choices import Way
from prism_core.study.engine import Arrived, Engine, Response, is_whole
from prism_core.study.file import save_study
from prism_core.study.judging import Judges
from prism_core.study.purchases import Purchases, cost_of_turns
from prism_core.study.records import ModelPart, StudyEnd, StudyRecords, read_study, versions_here
from prism_core.study.resolve import find_adapter, items_of, personas_of
from prism_core.study.spec import StudySpec, check_spec, deciding
from prism_core.study.table import Study
from prism_core.tasks import Item

STUDY_FILE = "study.parquet"
"""The result, beside the store of a study in a folder of its own."""
STAGE = "answering"
TIME_STAGE = "study_time"


class Executor(Protocol):
    """Computes batches, in any order: an `Engine` here, or workers of a Ray cluster."""

    def facts(self, reference: str, has_choices: bool = True) -> ModelFacts:
        """Find out what the study must know of a model; see `Engine.facts`."""

    def fingerprint(self, reference: str) -> str:
        """Return the identity of a model."""

    def answer_all(
        self, batches: Sequence[Batch], scoring: Way, begun: Arrived
    ) -> Iterator[Arrived]:
        """Yield responses as they are done; of a conversation perhaps the first turns alone."""

    def close(self) -> None:
        """Let go what it holds."""


def do_study(run: RunRow, store: Store, progress: Progress) -> None:
    """Do a study's run, or go on with it; the worker's handler.

    Raises:
        PrismError: the study cannot go on; the message says why.
        CancelledError: stopped on request; what was finished is kept.
    """
    StudyRun(run, store, progress).run()


def run_study(
    spec: StudySpec,
    folder: Path | str,
    *,
    models: Mapping[str, Generator] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Run a study in a folder of its own, or go on with it: what is answered is not asked again.

    Args:
        spec: the study's choices.
        folder: made where it is missing; `study.parquet` in it is the result.
        models: models that are loaded already, by their reference in the spec.
        progress: told of every batch; its cancel event stops the work.

    Raises:
        PrismError: the study cannot go on; the message says why.
        CancelledError: stopped on request; what was finished is kept.
    """
    folder = Path(folder)
    with open_folder(folder) as store:
        row = _run_of(store, check_spec(spec))
        StudyRun(row, store, progress or Progress(), models).run()
        study = read_study(store, row.id)
    save_study(study, folder / STUDY_FILE)
    return study


def _run_of(store: Store, spec: StudySpec) -> RunRow:
    """Return the last run if spec and items are as they were, else a new one.

    A new run in an old store is cheap: every answer that still holds comes from the cache.
    """
    found = run_of_spec(store, "study", spec)
    kept = StudyRecords(store, found.id).items()
    return found if kept in ({}, items_of(spec)) else new_run(store, "study", spec)


class StudyRun:
    """One study at work: what stays the same while its batches go by."""

    def __init__(
        self,
        run: RunRow,
        store: Store,
        progress: Progress,
        models: Mapping[str, Generator] | None = None,
    ) -> None:
        """Find what the spec names; `models` are loaded already, by their reference.

        Raises:
            PrismError: something that the spec names is not there.
        """
        self.spec = check_spec(unpack(StudySpec, dict(run.spec)))
        self.store, self.progress = store, progress
        self.records = StudyRecords(store, run.id)
        self.personas = personas_of(self.spec)
        self.items = items_of(self.spec)
        references = dict.fromkeys(arm.reference for arm in self.spec.adapters)
        owner = run.owner or None
        self.folders = {one: find_adapter(one, store, owner)[0] for one in references}
        self._given = dict(models or {})
        self.purchases = Purchases(store, run.id, self.spec)
        self._engine = Engine(self.folders, self.spec, progress, store, self.purchases)
        self._judges = Judges(self.spec, self.items, self.records, progress, self.purchases)
        self._grades: dict[tuple[str, str, tuple[str, ...]], tuple[float | None, bool]] = {}
        self._done = self._total = 0
        self._note = ""
        self._said: tuple[str, ...] = ()

    def run(self) -> None:
        """Answer and judge with all models, one after another."""
        started = time.monotonic()
        journal = StoreJournal(self.store, self.records.run_id)
        items = [i for had in self.items.values() for i in had]
        begin(journal, "study", deciding(self.spec), items)
        self.records.keep_items(self.items)
        try:
            with contextlib.closing(self._executor()) as executor:
                for place, reference in enumerate(self.spec.models):
                    # An endpoint is asked from here: what it sells is booked in one place.
                    asks = self._engine if is_remote(reference) else executor
                    self._run_model(place, reference, asks)
        finally:
            self.purchases.ledger.flush()
            spent = time.monotonic() - started
            self.store.put_records(self.records.run_id, TIME_STAGE, {f"{time.time():.3f}": spent})
        seconds = sum(self.store.get_records(self.records.run_id, TIME_STAGE).values())
        self.records.keep_end(StudyEnd(seconds, versions_here(), self._notes()))

    def _executor(self) -> Executor:
        if self.spec.executor == "ray":
            from prism_core.study.ray_executor import RayExecutor

            return RayExecutor(self.folders, self.spec, self.progress.cancel)
        return self._engine

    def _run_model(self, place: int, reference: str, executor: Executor) -> None:
        if reference in self._given:
            self._engine.use(reference, self._given[reference])
        self.progress.update("loading", place, len(self.spec.models), f"loading {reference}")
        part = self._part(place, reference, executor)
        self._judges.prepare(lambda: self._engine.model(reference))
        tokens = part.facts.letter_tokens
        batches = batches_of(self.spec, reference, part.cells, self.items, tokens)
        self._total = sum(len(b.requests) for b in batches)
        todo = self._unrecorded(place, batches)
        self._done = self._total - sum(len(b.requests) for b in todo)
        self._note = reference
        self._tell()
        cache = AnswerCache(self.store, part.facts, self.spec)
        missing: list[Batch] = []
        begun: dict[int, dict[int, Response]] = {}
        for batch in todo:
            self.progress.check()
            whole, started = cache.find(batch)
            self._commit(place, batch, whole)
            left = [i for i in range(len(batch.requests)) if i not in whole]
            begun[len(missing)] = {at: started[i] for at, i in enumerate(left) if i in started}
            missing += _only(batch, left)
        for arrived in executor.answer_all(missing, part.facts.scoring, begun):
            with self.store.together():
                for at, found in arrived.items():
                    cache.keep(missing[at], found)
                    self._commit(place, missing[at], found)
                self.purchases.ledger.flush()
            self._tell()
            self.progress.check()
        if part.facts.probe is not None and (late := self._engine.refused(part.facts)):
            self._said += (f"{part.facts.name} later refused {', '.join(late)} as well.",)
        self._judges.judge(place, part)

    def _unrecorded(self, place: int, batches: Sequence[Batch]) -> list[Batch]:
        """Return what is left of the batches without the answers that are there already."""
        known, left = self.records.answer_keys(), []
        for batch in batches:
            keys = [
                answer_key(place, r.cell.label, r.item.task, r.item.id, r.seed)
                for r in batch.requests
            ]
            left += _only(batch, [i for i, key in enumerate(keys) if key not in known])
        return left

    def _part(self, place: int, reference: str, executor: Executor) -> ModelPart:
        """Return what is known of a model: from the records if it is there, else looked up."""
        known = self.records.models().get(place)
        if known is not None:
            if known.facts.fingerprint != executor.fingerprint(reference):
                raise InputError(
                    f"The model '{reference}' has changed since this study began. Start a new "
                    "study; answers that still hold come from the cache."
                )
            if known.facts.probe is not None:
                self._engine.recall(known.facts)
            return known
        has_choices = any(i.kind == "choice" for had in self.items.values() for i in had)
        facts = executor.facts(reference, has_choices)
        cells, notes = cells_of(self.spec, self.personas, facts.adapters, facts.has_system_role)
        if len(cells) == 1:
            raise InputError(
                f"No cell is left to compare with neutral for {facts.name}: "
                f"{' '.join((*facts.notes, *notes))[:400]}"
            )
        # Through JSON, so that a resumed run works on the very same values.
        self.records.keep_model(place, ModelPart(facts, cells, notes))
        return self.records.models()[place]

    def _commit(self, place: int, batch: Batch, found: Mapping[int, Response]) -> None:
        """Keep the answers that are whole."""
        pairs = [(batch.requests[i], told) for i, told in found.items()]
        pairs = [(asked, told) for asked, told in pairs if is_whole(asked, told)]
        if pairs:
            self.records.keep_answers(self._answer(place, asked, told) for asked, told in pairs)
            self._done += len(pairs)
            self._note = pairs[-1][0].cell.label
            self._tell()

    def _answer(self, place: int, request: Request, response: Response) -> Answer:
        item, choice = request.item, response.choice
        read = response.turns[0] if choice is None else choice
        answer = Answer(
            place,
            request.cell.label,
            item.task,
            item.id,
            request.seed,
            prompt_tokens=read.prompt_tokens,
            gate=None if read.gate is None else read.gate.probability,
            gate_open=None if read.gate is None else read.gate.is_open,
        )
        if choice is not None:
            return replace(answer, logprobs=choice.logprobs, lengths=choice.tokens)
        turns = tuple(one.text for one in response.turns)
        check, refused = self._grade(item, turns)
        tokens = sum(one.tokens for one in response.turns)
        thoughts = sum(one.reasoning_tokens for one in response.turns)
        rate = self.purchases.rates.get(self.spec.models[place])
        return replace(
            answer,
            turns=turns,
            tokens=tokens,
            check=check,
            refused=refused,
            reasoning_tokens=thoughts,
            cost=None if rate is None else cost_of_turns(response.turns, rate),
        )

    def _grade(self, item: Item, turns: tuple[str, ...]) -> tuple[float | None, bool]:
        """Return check score and refusal by rule; the same text is looked at once."""
        key = (item.task, item.id, turns)
        if key not in self._grades:
            score = grade(item, turns[-1]).score if item.check is not None else None
            self._grades[key] = (score, is_refusal(turns[0]))
        return self._grades[key]

    def _tell(self) -> None:
        note = " · ".join(filter(None, (self._note, self.purchases.note())))
        self.progress.update(STAGE, self._done, self._total, note)

    def _notes(self) -> tuple[str, ...]:
        nobody = "No judge took part: alignment rests on checks of form and on safety alone."
        judged = self._judges.notes if self.spec.judges else (nobody,)
        return tuple(dict.fromkeys([*self._said, *judged, *self.purchases.sentences()]))


def _only(batch: Batch, places: Sequence[int]) -> list[Batch]:
    """Return the batch with those of its requests alone; nothing if there are none."""
    requests = tuple(batch.requests[i] for i in places)
    return [replace(batch, requests=requests)] if requests else []
