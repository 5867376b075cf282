"""A study in the store: what its run has kept so far, and the table that follows from it.

The run's records hold the facts of each model with its cells, the items, every answer and every
judgement, each batch in one transaction. From them the table is built at any moment, so a study can
be explored while it runs, and whoever continues it redoes nothing that is there.
"""

from __future__ import annotations

import contextlib
import datetime
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prism_core import __version__
from prism_core.errors import NotFoundError
from prism_core.storage import RunRow, Store, pack, unpack
from prism_core.study.answers import Answer, JudgedAnswer
from prism_core.study.cells import Cell, ModelFacts
from prism_core.study.choices import MEANING
from prism_core.study.resolve import item_table
from prism_core.study.scores import preference_of, row_of
from prism_core.study.spec import StudySpec
from prism_core.study.table import Study, empty_table, table_of
from prism_core.tasks import Item, item_from_json, item_to_json

FACTS, ITEMS, ANSWERS = "study_facts", "study_items", "study_answers"
JUDGEMENTS, END = "study_judgements", "study_end"
_PACKAGES = ("torch", "transformers", "tokenizers", "pandas", "math-verify")
"""Libraries whose versions decide a study's numbers."""


@dataclass(frozen=True)
class ModelPart:
    """One model of a study with its cells."""

    facts: ModelFacts
    cells: tuple[Cell, ...]
    """How it answers, neutral first."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyEnd:
    """How a study ended."""

    seconds: float
    """Time at work, all resumptions together."""
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()


class StudyRecords:
    """The records of one study's run."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store, self.run_id = store, run_id

    def keep_items(self, items: Mapping[str, Sequence[Item]]) -> None:
        """Keep the items, task by task, in their order."""
        parts = {task: [item_to_json(one) for one in found] for task, found in items.items()}
        self.store.put_records(self.run_id, ITEMS, parts)

    def items(self) -> dict[str, tuple[Item, ...]]:
        """Return the items by task."""
        parts = self.store.get_records(self.run_id, ITEMS)
        return {task: tuple(item_from_json(one) for one in lines) for task, lines in parts.items()}

    def keep_model(self, place: int, part: ModelPart) -> None:
        """Keep what is known of a model."""
        self.store.put_records(self.run_id, FACTS, {f"{place:04d}": part})

    def models(self) -> dict[int, ModelPart]:
        """Return the models by their place in the spec."""
        found = self.store.get_values(self.run_id, FACTS, ModelPart)
        return {int(key): part for key, part in found.items()}

    def keep_answers(self, answers: Iterable[Answer]) -> None:
        """Keep a batch's answers in one transaction."""
        self.store.put_records(self.run_id, ANSWERS, {a.key: pack(a) for a in answers})

    def answer_keys(self) -> set[str]:
        """Return the keys of the answers that are there."""
        return set(self.store.record_keys(self.run_id, ANSWERS))

    def answers(self) -> list[Answer]:
        """Return all answers so far."""
        return [read_answer(data) for data in self._payloads(ANSWERS)]

    def keep_judgements(self, judgements: Iterable[JudgedAnswer], judge: int = 0) -> None:
        """Keep a batch's judgements in one transaction; judges are counted from 0."""
        parts = {j.answer: pack(j) for j in judgements}
        self.store.put_records(self.run_id, _stage_of(judge), parts)

    def judgements(self, judge: int = 0) -> dict[str, JudgedAnswer]:
        """Return all judgements of a judge so far, by the key of their answer."""
        found = [JudgedAnswer(**data) for data in self._payloads(_stage_of(judge))]
        return {one.answer: one for one in found}

    def keep_end(self, end: StudyEnd) -> None:
        """Keep how it ended; a second time replaces the first."""
        self.store.put_records(self.run_id, END, {END: end})

    def end(self) -> StudyEnd | None:
        """Return how it ended, or None while it has not."""
        part = self.store.get_records(self.run_id, END).get(END)
        return None if part is None else unpack(StudyEnd, part)

    def _payloads(self, stage: str) -> list[Any]:
        return list(self.store.get_records(self.run_id, stage).values())


def _stage_of(judge: int) -> str:
    """Return where a judge's judgements are; the first one's are where earlier versions look."""
    return JUDGEMENTS if judge == 0 else f"{JUDGEMENTS}@{judge + 1}"


def versions_here() -> dict[str, str]:
    """Return name -> version of this program, of its libraries and the device."""
    import torch

    found = {"prism-studio": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    cuda = torch.cuda.is_available()
    found["device"] = torch.cuda.get_device_name() if cuda else f"CPU ({platform.machine()})"
    return found


def read_study(store: Store, run_id: str, owner: str | None = None) -> Study:
    """Return a study as far as its run has come; without an owner, anybody's.

    Raises:
        NotFoundError: there is no such study.
    """
    run = store.get_run(run_id, owner)
    if run.kind != "study":
        raise NotFoundError(f"The run '{run.title}' is not a study.")
    return study_of(run, StudyRecords(store, run_id))


def study_of(run: RunRow, records: StudyRecords) -> Study:
    """Return the study that a run's records hold so far."""
    items, models, end = records.items(), records.models(), records.end()
    notes = [note for part in models.values() for note in (*part.facts.notes, *part.notes)]
    versions = {f"model {p.facts.name}": p.facts.fingerprint for p in models.values()}
    if any(item.kind == "choice" for had in items.values() for item in had):
        versions |= {f"choices {p.facts.name}": MEANING[p.facts.scoring] for p in models.values()}
    created = datetime.datetime.fromtimestamp(run.created, datetime.UTC)
    judged = (records.judgements(0), records.judgements(1))
    rows = build_rows(models, items, records.answers(), *judged)
    notes += silent_answers(rows)
    return Study(
        spec=unpack(StudySpec, dict(run.spec)),
        rows=rows,
        items=item_table(items),
        notes=tuple(dict.fromkeys([*notes, *(end.notes if end else ())])),
        finished=end is not None,
        created=created.isoformat(timespec="seconds"),
        versions={**versions, **(end.versions if end else {})},
    )


def silent_answers(rows: Any) -> list[str]:
    """Return a sentence for each model some of whose answers say nothing, or name no choice."""
    found = []
    for name, own in rows.groupby("model", sort=False):
        asked = own[own["kind"] == "choice"]
        if none := int(asked["choice"].isna().sum()):
            found.append(
                f"{name}: {none:,} of {len(asked):,} answers name no choice; they count as wrong."
            )
        written = own[own["kind"] != "choice"]
        if empty := int((written["text"] == "").sum()):
            found.append(
                f"{name}: {empty:,} of {len(written):,} answers are empty: the model said nothing, "
                "or its provider's filter stopped it."
            )
    return found


def build_rows(
    models: Mapping[int, ModelPart],
    items: Mapping[str, Sequence[Item]],
    answers: Sequence[Answer],
    judgements: Mapping[str, JudgedAnswer],
    second: Mapping[str, JudgedAnswer] | None = None,
) -> Any:
    """Return the study's table, in the order of models, cells, tasks, items and seeds."""
    by_id = {(task, one.id): (i, one) for task, had in items.items() for i, one in enumerate(had)}
    tasks = {task: i for i, task in enumerate(items)}
    cells = {
        (place, cell.label): (i, cell)
        for place, part in models.items()
        for i, cell in enumerate(part.cells)
    }
    names = model_names(models)
    found = []
    for answer in answers:
        order, cell = cells[answer.model, answer.cell]
        position, item = by_id[answer.task, answer.item]
        where = (answer.model, order, tasks[answer.task], position, answer.seed)
        facts = models[answer.model].facts
        judged = judgements.get(answer.key)
        name = names[answer.model]
        row = row_of(answer, cell, item, name, facts.scoring, judged)
        found.append((where, row | {"preference_2": preference_of((second or {}).get(answer.key))}))
    found.sort(key=lambda one: one[0])
    return table_of([row for _, row in found]) if found else empty_table()


def model_names(models: Mapping[int, ModelPart]) -> dict[int, str]:
    """Return a name for each model; two of one name are told apart by their reference."""
    names = {place: part.facts.name for place, part in models.items()}
    shown = list(names.values())
    return {
        place: name if shown.count(name) == 1 else f"{name} ({models[place].facts.reference})"
        for place, name in names.items()
    }


def read_answer(data: Mapping[str, Any]) -> Answer:
    """Read an answer from its record, unlike `unpack` without slow checks of our own writing."""
    lists = {key: tuple(data[key]) for key in ("turns", "logprobs", "lengths")}
    return Answer(**{**data, **lists})
