"""What a finished training run has left behind, for whoever examines its adapter afterwards.

A run's folder holds its store (`run.sqlite3`) and the bundle (`adapter`); from the store's records
the judged pairs of all rounds and the held-out queries are read back. A bundle alone still names
its held-out queries; the demo's are ours and can be asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prism_core.errors import InputError, NotFoundError
from prism_core.models.local import LocalModel
from prism_core.prism.ablation.contest import hold_contest
from prism_core.prism.ablation.table import AblationTable
from prism_core.prism.bootstrap.answers import ANSWERING, AnswerConfig, AnswerInputs, answer_queries
from prism_core.prism.bootstrap.verification import verify_pairs
from prism_core.prism.bundle import INFO_FILE, read_info
from prism_core.prism.demo import demo_queries
from prism_core.prism.gating.report import GateReport
from prism_core.prism.pipeline import ADAPTER_FOLDER, QUERY_STAGE, load_result, merge_rounds
from prism_core.prism.records import AnswerPair, JudgedPair
from prism_core.prism.resolve import judge_of, personas_of
from prism_core.prism.spec import STORE_FILE, TrainSpec
from prism_core.progress import Progress
from prism_core.storage import unpack
from prism_core.storage.journal import Journal, MemoryJournal, SuffixJournal
from prism_core.types import Verdict


@dataclass(frozen=True)
class PastRun:
    """A finished run's judged pairs."""

    judged: tuple[JudgedPair, ...]
    """One a query, in the order in which they were written."""
    held_out: frozenset[str]
    """Ids of the queries that neither gate nor adapter has seen."""


def bundle_folder(folder: Path) -> Path:
    """The bundle that a folder is, or that lies in it as a run's `adapter`.

    Raises:
        NotFoundError: there is none; the message says where was looked.
    """
    for candidate in (folder, folder / ADAPTER_FOLDER):
        if (candidate / INFO_FILE).is_file():
            return candidate
    if (folder / STORE_FILE).is_file():
        raise NotFoundError(
            f"The run in '{folder}' has no adapter: it is not finished, or found nothing to "
            "distil. `train --resume` goes on with it and says which."
        )
    raise NotFoundError(
        f"'{folder}' is no PRISM adapter: neither it nor its folder '{ADAPTER_FOLDER}' has a "
        f"{INFO_FILE}."
    )


def run_home(folder: Path) -> Path | None:
    """The run's folder that a bundle belongs to, or None where it stands alone."""
    bundle = bundle_folder(folder)
    homes = [folder, bundle.parent if bundle.name == ADAPTER_FOLDER else folder]
    return next((home for home in homes if (home / STORE_FILE).is_file()), None)


def read_run(spec: TrainSpec, journal: Journal) -> PastRun:
    """Judged pairs and held-out ids of a run.

    Args:
        spec: what was chosen for it.
        journal: the run's journal.

    Raises:
        NotFoundError: the run is not finished, or ended without an adapter.
    """
    result = load_result(journal)
    if result is None:
        raise NotFoundError("This run is not finished; `train --resume` goes on with it.")
    if not result.has_adapter:
        raise NotFoundError(f"This run has no adapter. {' '.join(result.notes)}")
    numbers = range(1, spec.rounds + 1)
    parts = [journal if n == 1 else SuffixJournal(journal, f"@{n}") for n in numbers]
    order = list(journal.load(QUERY_STAGE))
    rounds = [_round(order, part) for part in parts]
    report = unpack(GateReport, parts[-1].load("gate")["report"])
    held_out = frozenset(row.query for row in report.rows if row.held_out)
    return PastRun(tuple(merge_rounds(rounds)), held_out)


def _round(order: list[str], journal: Journal) -> list[JudgedPair]:
    answers: Mapping[str, Any] = journal.load("answers")
    verdicts: Mapping[str, Any] = journal.load("verification")
    return [JudgedPair(unpack(AnswerPair, answers[i]), unpack(Verdict, verdicts[i])) for i in order]


def contest_of_bundle(bundle: Path, model: LocalModel, progress: Progress) -> AblationTable:
    """Examine a bundle whose run is not at hand: on the demo's held-out queries, asked again.

    Args:
        bundle: the adapter's folder.
        model: its base model.
        progress: told of every batch; its cancel event stops the work.

    Raises:
        NotFoundError: it is no bundle.
        InputError: it was not trained on the demo's queries, or does not name the held-out ones.
        ModelError: it belongs to another base model.
    """
    info = read_info(bundle)
    settings = dict(info.settings)
    if settings.get("preset") != "demo":
        raise InputError(
            f"'{info.name}' does not hold the queries it can be examined on. Give the folder that "
            f"`train --out` wrote, with its {STORE_FILE}."
        )
    away = set(info.held_out)
    queries = [query for query in demo_queries() if query.id in away]
    if not queries:
        raise InputError(f"'{info.name}' does not say which of the demo's queries were held out.")
    spec = unpack(TrainSpec, settings)
    journal = MemoryJournal()
    config = AnswerConfig(
        length=spec.length,
        placement=spec.placement,
        sampling=replace(ANSWERING, max_new_tokens=spec.answer_tokens),
        seed=spec.seed,
    )
    inputs = AnswerInputs(queries, personas_of(spec))
    pairs = answer_queries(config, inputs, model, journal, progress)
    verify, judge = judge_of(spec, model)
    judged = verify_pairs(verify, pairs, judge, journal, progress)
    return hold_contest(spec, judged, away, bundle, model, journal, progress, bundle=bundle)
