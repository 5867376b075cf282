"""A training run as its journal tells it: what has been finished so far, as values.

The store is the truth. Everything the Train tab shows of a run is read from here, so a page that
was closed shows the same when it is opened again. While a run is at work only what changes is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from prism_core.prism.ablation.table import AblationTable, load_table
from prism_core.prism.bootstrap.verification import (
    VerificationReport,
    load_judge_check,
    verification_report,
)
from prism_core.prism.distillation.report import CurvePoint, DistillReport
from prism_core.prism.gating.report import GateEpoch, GateReport
from prism_core.prism.records import AnswerPair, JudgedPair, Query, Route
from prism_core.prism.resolve import personas_of
from prism_core.prism.spec import TrainSpec
from prism_core.scorers.judge_check import JudgeCheck
from prism_core.storage import RunRow, Store, unpack
from prism_core.storage.journal import SETTINGS_KEY, StoreJournal
from prism_core.types import Persona, Verdict

_QUERIES, _ANSWERS, _VERDICTS = "query_set", "answers", "verification"
_GATE_CURVE, _GATE = "gate_curve", "gate"
_CURVE, _DISTILLED = "distillation_curve", "distillation"
RESULT = "result"
T = TypeVar("T")


@dataclass(frozen=True)
class RouteTally:
    """Where one persona's questions go, so far."""

    persona: str
    distill: int
    """Questions whose persona answer won in both orders."""
    retain: int
    """The other judged ones."""
    waiting: int


@dataclass(frozen=True)
class EndOfRun:
    """How a run ended."""

    has_adapter: bool
    seconds: float
    """Time at work, all resumptions together."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """What a run has found so far, without the texts."""

    run: RunRow
    spec: TrainSpec
    counts: Mapping[str, int]
    """How many parts each stage has finished."""
    routes: tuple[RouteTally, ...]
    gate_curve: tuple[GateEpoch, ...]
    curve: tuple[CurvePoint, ...]
    result: EndOfRun | None


@dataclass(frozen=True)
class Findings:
    """What can be looked at once answers were judged; what is not known yet is None."""

    judged: tuple[JudgedPair, ...] = ()
    report: VerificationReport | None = None
    check: JudgeCheck | None = None
    """The judge on pairs with a known better answer; None as well where none was made."""
    gate: GateReport | None = None
    distilled: DistillReport | None = None
    table: AblationTable | None = None


@dataclass(frozen=True)
class PairFilter:
    """Which of the judged questions are shown."""

    persona: str = ""
    """Empty shows all."""
    route: Route | None = None
    """None shows both."""
    text: str = ""

    def takes(self, judged: JudgedPair) -> bool:
        """Tell whether a judged question is shown."""
        pair = judged.pair
        if self.persona and pair.query.persona != self.persona:
            return False
        if self.route is not None and judged.route != self.route:
            return False
        words = self.text.casefold().split()
        whole = f"{pair.query.text}\n{pair.persona.text}\n{pair.neutral.text}".casefold()
        return all(word in whole for word in words)


def spec_of_run(run: RunRow) -> TrainSpec:
    """Return what a run was told; an `InputError` if another version wrote it."""
    return unpack(TrainSpec, dict(run.spec))


def titles_of(spec: TrainSpec, library: Mapping[str, Persona]) -> dict[str, str]:
    """Return the personas' names as shown to people, a run's own ones included."""
    people = {**library, **personas_of(spec)}
    return {name: persona.title for name, persona in people.items()}


def read_story(store: Store, run: RunRow) -> Story:
    """Read what a run has found so far, without the texts.

    Raises:
        PrismError: the store does not answer, or another version wrote the run.
    """
    counts = store.count_records(run.id)

    def read(stage: str, kind: type[T]) -> list[T]:
        parts = _parts(store, run.id, stage) if counts.get(stage) else {}
        return [unpack(kind, part) for part in parts.values()]

    return Story(
        run=run,
        spec=spec_of_run(run),
        counts=counts,
        routes=_routes(store, run.id, read(_QUERIES, Query)),
        gate_curve=tuple(sorted(read(_GATE_CURVE, GateEpoch), key=lambda p: p.epoch)),
        curve=tuple(sorted(read(_CURVE, CurvePoint), key=lambda p: p.step)),
        result=_end(store, run.id) if counts.get(RESULT) else None,
    )


def read_findings(store: Store, run_id: str) -> Findings:
    """Read everything that a run has found.

    Raises:
        PrismError: the store does not answer, or another version wrote the run.
    """
    journal = StoreJournal(store, run_id)
    verdicts = _parts(store, run_id, _VERDICTS)
    pairs = _parts(store, run_id, _ANSWERS) if verdicts else {}
    judged = tuple(
        JudgedPair(unpack(AnswerPair, pairs[key]), unpack(Verdict, part))
        for key, part in verdicts.items()
        if key in pairs
    )
    check = load_judge_check(journal)
    gate = store.get_records(run_id, _GATE).get("report")
    distilled = store.get_records(run_id, _DISTILLED).get("result")
    return Findings(
        judged=judged,
        report=verification_report(judged, check) if judged else None,
        check=check,
        gate=unpack(GateReport, gate) if gate else None,
        distilled=unpack(DistillReport, distilled["report"]) if distilled else None,
        table=load_table(journal),
    )


def _routes(store: Store, run_id: str, queries: list[Query]) -> tuple[RouteTally, ...]:
    verdicts = _parts(store, run_id, _VERDICTS) if queries else {}
    tallies = []
    for name in dict.fromkeys(q.persona for q in queries):
        asked = [q.id for q in queries if q.persona == name]
        winners = [verdicts[key]["winner"] for key in asked if key in verdicts]
        wins = winners.count("persona")
        waiting = len(asked) - len(winners)
        tallies.append(RouteTally(name, wins, len(winners) - wins, waiting))
    return tuple(tallies)


def _end(store: Store, run_id: str) -> EndOfRun:
    part = store.get_records(run_id, RESULT)[RESULT]
    return EndOfRun(bool(part["has_adapter"]), float(part["seconds"]), tuple(part["notes"]))


def _parts(store: Store, run_id: str, stage: str) -> dict[str, Any]:
    """Return a stage's parts without the mark of its settings."""
    parts = store.get_records(run_id, stage)
    parts.pop(SETTINGS_KEY, None)
    return parts
