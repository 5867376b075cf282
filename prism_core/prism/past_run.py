"""What a finished training run has left behind, for whoever examines its adapter afterwards.

A run's folder holds its store (`run.sqlite3`) and the bundle (`adapter`); from the store's records
the judged pairs of all rounds and the held-out queries are read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prism_core.errors import NotFoundError
from prism_core.prism.bundle_files import ADAPTER_FOLDER, INFO_FILE
from prism_core.prism.gating.report import GateReport
from prism_core.prism.pipeline import QUERY_STAGE, load_result, merge_rounds
from prism_core.prism.records import AnswerPair, JudgedPair
from prism_core.prism.spec import TrainSpec
from prism_core.storage import unpack
from prism_core.storage.folder_store import STORE_FILE
from prism_core.storage.journal import Journal, SuffixJournal
from prism_core.types import Verdict


@dataclass(frozen=True)
class PastRun:
    """A finished run's judged pairs, one a query, and the ids of the held-out queries."""

    judged: tuple[JudgedPair, ...]
    held_out: frozenset[str]


def bundle_folder(folder: Path) -> Path:
    """Return the bundle that a folder is, or that lies in it as a run's `adapter`.

    Raises:
        NotFoundError: there is none; the message says where it was looked for.
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
    """Return the run's folder that a bundle belongs to, or None where it stands alone."""
    bundle = bundle_folder(folder)
    places = [folder, bundle.parent if bundle.name == ADAPTER_FOLDER else folder]
    return next((place for place in places if (place / STORE_FILE).is_file()), None)


def read_run(spec: TrainSpec, journal: Journal) -> PastRun:
    """Read back the judged pairs and held-out ids of a run.

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
    return PastRun(tuple(merge_rounds(rounds)), report.held_out_ids)


def _round(order: list[str], journal: Journal) -> list[JudgedPair]:
    answers: Mapping[str, Any] = journal.load("answers")
    verdicts: Mapping[str, Any] = journal.load("verification")
    return [JudgedPair(unpack(AnswerPair, answers[i]), unpack(Verdict, verdicts[i])) for i in order]
