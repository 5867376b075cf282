"""A training run as its journal tells it: what has been finished so far, as values.

The store is the truth. Everything the Train tab shows of a run is read from here, so a page that
was closed shows the same when it is opened again. While a run is at work only what changes is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prism_core.prism.ablation.run import load_table
from prism_core.prism.ablation.table import AblationTable
from prism_core.prism.bootstrap.verification import (
    VerificationReport,
    load_judge_check,
    verification_report,
)
from prism_core.prism.distillation.report import CurvePoint, DistillReport
from prism_core.prism.gating.report import GateEpoch, GateReport
from prism_core.prism.records import AnswerPair, JudgedPair, Query, Route
from prism_core.prism.spec import TrainSpec
from prism_core.scorers.judge_check import JudgeCheck
from prism_core.storage import RunRow, Store, unpack
from prism_core.storage.journal import SETTINGS_KEY, StoreJournal
from prism_core.types import Verdict

_QUERIES, _ANSWERS, _VERDICTS = "query_set", "answers", "verification"
_GATE_CURVE, _GATE = "gate_curve", "gate"
_CURVE, _DISTILLED = "distillation_curve", "distillation"
RESULT = "result"


@dataclass(frozen=True)
class RouteTally:
    """Where one persona's questions go, so far."""

    persona: str
    """The persona's name."""
    distill: int
    """Questions whose persona answer won in both orders."""
    retain: int
    """The other judged ones."""
    waiting: int
    """Questions not judged yet."""


@dataclass(frozen=True)
class Story:
    """What a run has found so far."""

    run: RunRow
    """The run as it stands."""
    spec: TrainSpec
    """What was chosen."""
    counts: Mapping[str, int]
    """How many parts each stage has finished."""
    routes: tuple[RouteTally, ...]
    """One entry a persona."""
    gate_curve: tuple[GateEpoch, ...]
    """The gate's losses by epoch, once it was trained."""
    curve: tuple[CurvePoint, ...]
    """Distillation so far."""
    result: EndOfRun | None
    """How it ended, if it did."""


@dataclass(frozen=True)
class EndOfRun:
    """How a run ended."""

    has_adapter: bool
    """Whether there was something to distil."""
    seconds: float
    """Time at work, all resumptions together."""
    notes: tuple[str, ...]
    """Warnings and nulls, as sentences."""


@dataclass(frozen=True)
class Findings:
    """What can be looked at once answers were judged."""

    judged: tuple[JudgedPair, ...]
    """Every judged question with both answers."""
    report: VerificationReport | None
    """What the verdicts say; None before any."""
    check: JudgeCheck | None
    """The judge on pairs with a known better answer; None where none was made."""
    gate: GateReport | None
    """The gate, once trained."""
    distilled: DistillReport | None
    """The distillation, once finished."""
    table: AblationTable | None
    """The comparison, once finished."""


@dataclass(frozen=True)
class PairFilter:
    """Which of the judged questions are shown."""

    persona: str = ""
    """Name of the persona; empty shows all."""
    route: Route | None = None
    """`distill`, `retain`, or both."""
    text: str = ""
    """Words that question or answers must contain."""

    def takes(self, judged: JudgedPair) -> bool:
        """Whether a judged question is shown."""
        pair = judged.pair
        if self.persona and pair.query.persona != self.persona:
            return False
        if self.route is not None and judged.route != self.route:
            return False
        words = self.text.casefold().split()
        whole = f"{pair.query.text}\n{pair.persona.text}\n{pair.neutral.text}".casefold()
        return all(word in whole for word in words)


def spec_of_run(run: RunRow) -> TrainSpec:
    """What a run was told.

    Raises:
        InputError: another version wrote it.
    """
    return unpack(TrainSpec, dict(run.spec))


def read_story(store: Store, run: RunRow) -> Story:
    """What a run has found so far, without the texts.

    Raises:
        PrismError: the store does not answer, or another version wrote the run.
    """
    counts = store.count_records(run.id)
    return Story(
        run=run,
        spec=spec_of_run(run),
        counts=counts,
        routes=_routes(store, run.id) if counts.get(_QUERIES) else (),
        gate_curve=_gate_curve(store, run.id) if counts.get(_GATE_CURVE) else (),
        curve=_curve(store, run.id) if counts.get(_CURVE) else (),
        result=_result(store, run.id) if counts.get(RESULT) else None,
    )


def read_findings(store: Store, run_id: str) -> Findings:
    """Everything that a run has found.

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


def _routes(store: Store, run_id: str) -> tuple[RouteTally, ...]:
    queries = [unpack(Query, part) for part in _parts(store, run_id, _QUERIES).values()]
    verdicts = _parts(store, run_id, _VERDICTS)
    tallies = []
    for name in dict.fromkeys(q.persona for q in queries):
        winners = [
            verdicts[q.id]["winner"] for q in queries if q.persona == name and q.id in verdicts
        ]
        wins = winners.count("persona")
        waiting = sum(q.persona == name for q in queries) - len(winners)
        tallies.append(RouteTally(name, wins, len(winners) - wins, waiting))
    return tuple(tallies)


def _gate_curve(store: Store, run_id: str) -> tuple[GateEpoch, ...]:
    points = [unpack(GateEpoch, part) for part in _parts(store, run_id, _GATE_CURVE).values()]
    return tuple(sorted(points, key=lambda p: p.epoch))


def _curve(store: Store, run_id: str) -> tuple[CurvePoint, ...]:
    points = [unpack(CurvePoint, part) for part in _parts(store, run_id, _CURVE).values()]
    return tuple(sorted(points, key=lambda p: p.step))


def _result(store: Store, run_id: str) -> EndOfRun | None:
    part = store.get_records(run_id, RESULT).get(RESULT)
    if part is None:
        return None
    return EndOfRun(bool(part["has_adapter"]), float(part["seconds"]), tuple(part["notes"]))


def _parts(store: Store, run_id: str, stage: str) -> dict[str, Any]:
    """A stage's parts without the mark of its settings."""
    parts = store.get_records(run_id, stage)
    parts.pop(SETTINGS_KEY, None)
    return parts
