"""PRISM from start to finish: the five stages in order, resumable (paper, section 4).

1. Queries, 2. answers and 3. verdicts come from the stages of that name, round by round.
4. The gate learns which queries a persona won; its held-out groups are never distilled.
5. The wins of the other groups are distilled into one LoRA.
6. PRISM is compared with its baselines on the held-out queries, and the adapter is saved.
In a later round the student, adapter on, takes the neutral side: only what the persona still does
better is added. A run without wins ends by saying so, without an adapter.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prism_core.errors import InputError
from prism_core.models.local import LocalModel
from prism_core.prism.ablation.ablate import ablate_run
from prism_core.prism.bootstrap.answers import answer_queries
from prism_core.prism.bootstrap.queries import QueryConfig, write_queries
from prism_core.prism.bootstrap.verification import verify_pairs
from prism_core.prism.bundle import identify, load_bundle
from prism_core.prism.bundle_files import ADAPTER_FOLDER, BundleInfo, write_info
from prism_core.prism.demo import demo_queries
from prism_core.prism.distillation.report import DistillReport
from prism_core.prism.distillation.training import distill
from prism_core.prism.gating.open_rates import open_rates
from prism_core.prism.gating.report import GateReport, topics_of
from prism_core.prism.gating.settings import PAPER_THRESHOLD
from prism_core.prism.gating.training import GateResult, train_gate
from prism_core.prism.records import JudgedPair, Query
from prism_core.prism.resolve import (
    answer_config,
    distill_config,
    gate_config,
    judge_of,
    personas_of,
    variant_maker,
)
from prism_core.prism.spec import TrainSpec, check_spec
from prism_core.progress import Progress
from prism_core.stats import roc_auc
from prism_core.storage import RunRow, Store, pack, unpack
from prism_core.storage.folder_store import open_folder, run_of_spec
from prism_core.storage.journal import Journal, StoreJournal, SuffixJournal
from prism_core.types import Estimate

QUERY_STAGE = "query_set"
RESULT_STAGE = "result"
TIME_STAGE = "time"


@dataclass(frozen=True)
class TrainResult:
    """How a training run ended."""

    has_adapter: bool
    """Whether there was something to distil; the bundle is then in the run's folder."""
    seconds: float
    """Time at work, all resumptions together."""
    notes: tuple[str, ...]
    info: BundleInfo | None = None


def run_training(run: RunRow, store: Store, progress: Progress) -> None:
    """Do a training run of the store; see `prism_core.worker`."""
    spec = unpack(TrainSpec, dict(run.spec))
    run.path.mkdir(parents=True, exist_ok=True)
    train(spec, run.path, StoreJournal(store, run.id), progress)


def train(
    spec: TrainSpec,
    folder: Path | str,
    journal: Journal | None = None,
    progress: Progress | None = None,
    model: LocalModel | None = None,
    command: str = "",
) -> TrainResult:
    """Run all stages, or go on with them; the bundle goes to `adapter` inside the run's folder.

    Without a journal, one is kept in a store of the folder's own, and a run with this spec goes on
    there. The base model is loaded if it is not given. `command` stands on the model card, by
    default the command line of this spec.

    Raises:
        InputError: a choice is not allowed.
        CancelledError: stopped on request; finished parts are in the journal.
    """
    folder, progress = Path(folder), progress or Progress()
    if journal is None:
        with open_folder(folder) as store:
            kept = StoreJournal(store, run_of_spec(store, "train", check_spec(spec)).id)
            return train(spec, folder, kept, progress, model, command)
    started = time.monotonic()
    check_spec(spec)
    model = model or LocalModel.load(spec.model, progress=progress)
    work = _Training(spec, folder, journal, progress, model, command or command_of(spec))
    try:
        result = work.run()
    finally:
        journal.save(TIME_STAGE, {f"{time.time():.3f}": time.monotonic() - started})
    result = replace(result, seconds=sum(journal.load(TIME_STAGE).values()))
    journal.save(RESULT_STAGE, {RESULT_STAGE: pack(result)})
    return result


def load_result(journal: Journal) -> TrainResult | None:
    """Return how a run ended, or None while it has not."""
    part = journal.load(RESULT_STAGE).get(RESULT_STAGE)
    return None if part is None else unpack(TrainResult, part)


def command_of(spec: TrainSpec) -> str:
    """Write the command that trains this spec, for the model card."""
    words = ["python", "-m", "prism_core", "train", "--preset", spec.preset]
    if spec.model != "embedded":
        words += ["--model", spec.model]
    return shlex.join([*words, "--out", "DIR", "--seed", str(spec.seed)])


def merge_rounds(rounds: Sequence[Sequence[JudgedPair]]) -> list[JudgedPair]:
    """Keep one judged pair a query: of the round in which the persona first won, else the first.

    A query whose win the adapter has already learnt is still one where the gate has to open.
    """
    merged = []
    for versions in zip(*rounds, strict=True):
        won = [judged for judged in versions if judged.route == "distill"]
        merged.append(won[0] if won else versions[0])
    return merged


def _decisions(report: GateReport) -> Mapping[str, Estimate]:
    """Name what the gate does on held-out queries, at its threshold and at the paper's."""
    found: dict[str, Estimate] = {}
    held = report.held_out
    for at, value in ((held.at_threshold, report.threshold), (held.at_paper, PAPER_THRESHOLD)):
        if at is not None:
            found[f"Gate precision (from {value:.2f})"] = at.precision
            found[f"Gate recall (from {value:.2f})"] = at.recall
    return found


def _wanted_auc(gate: GateResult, wanted: Mapping[str, bool]) -> dict[str, Estimate]:
    """Measure how well the gate finds the queries where the persona is known to be wanted.

    The gate learns from verdicts, and a wanted persona that failed counts as `retain` there.
    """
    rows = [r for r in gate.report.rows if r.held_out and r.query in wanted]
    if not rows:
        return {}
    labels, given = [wanted[r.query] for r in rows], [r.probability for r in rows]
    return {"Gate ROC-AUC, wanted": roc_auc(labels, given, groups=topics_of(rows))}


@dataclass
class _Training:
    """One run: what stays the same while the stages go by."""

    spec: TrainSpec
    folder: Path
    journal: Journal
    progress: Progress
    model: LocalModel
    command: str

    def __post_init__(self) -> None:
        self.personas = personas_of(self.spec)
        self.variant_of = variant_maker(self.spec)
        self.verify_config, self.judge = judge_of(self.spec, self.model)
        self.notes: list[str] = []
        self.wanted: dict[str, bool] = {}
        self.opens: Mapping[str, Estimate] = {}

    def run(self) -> TrainResult:
        """Do all rounds, then the comparison."""
        queries = self._queries()
        self.wanted = {q.id: q.wanted for q in queries if q.wanted is not None}
        rounds: list[list[JudgedPair]] = []
        previous: Path | None = None
        for number in range(1, self.spec.rounds + 1):
            journal = self.journal if number == 1 else SuffixJournal(self.journal, f"@{number}")
            rounds.append(self._judged(queries, number, journal, previous))
            judged = merge_rounds(rounds)
            if not any(j.route == "distill" for j in judged):
                self.notes.append(
                    f"No persona answer won in both orders on any of {len(judged)} queries: there "
                    "is nothing to distil, so this run ends without an adapter."
                )
                return TrainResult(False, 0.0, tuple(self.notes))
            config = gate_config(self.spec)
            gate = train_gate(config, judged, self.model, journal, self.progress)
            self.opens = open_rates(gate.gate, self.model, gate.report.threshold)
            self.notes = [*self.notes, *gate.report.warnings]
            last = number == self.spec.rounds
            target = self.folder / (ADAPTER_FOLDER if last else f"round{number}")
            report = self._distil(judged, gate, target, journal, previous)
            self._save(target, gate, report)
            previous = target
        info = self._compare(judged, gate, report, self.folder / ADAPTER_FOLDER)
        return TrainResult(True, 0.0, tuple(self.notes), info)

    def _queries(self) -> tuple[Query, ...]:
        """Stage 1, or the demo's own queries."""
        if self.spec.preset == "demo":
            queries = demo_queries()
        else:
            config = QueryConfig(per_persona=self.spec.queries_per_persona, seed=self.spec.seed)
            personas = list(self.personas.values())
            found = write_queries(config, personas, self.model, self.journal, self.progress)
            queries = found.queries
            if found.shortfall:
                self.notes.append(
                    f"{found.shortfall} queries are missing: the model wrote no more usable ones."
                )
        if len(queries) < 4:
            raise InputError(
                f"Only {len(queries)} usable queries were written; at least 4 are needed. "
                "Ask for more queries per persona, or choose a larger model."
            )
        self.journal.save(QUERY_STAGE, {q.id: pack(q) for q in queries})
        return queries

    def _judged(
        self, queries: Sequence[Query], number: int, journal: Journal, previous: Path | None
    ) -> list[JudgedPair]:
        """Stages 2 and 3 of one round."""
        config = answer_config(self.spec, number)
        student = load_bundle(previous, self.model) if previous is not None else None
        pairs = answer_queries(
            config, queries, self.personas, self.model, journal, self.progress, neutral=student
        )
        return verify_pairs(self.verify_config, pairs, self.judge, journal, self.progress)

    def _distil(
        self,
        judged: Sequence[JudgedPair],
        gate: GateResult,
        target: Path,
        journal: Journal,
        start: Path | None,
    ) -> DistillReport:
        """Stage 5 on the wins of the gate's training part."""
        held_out = gate.report.held_out_ids
        wins = [j.pair for j in judged if j.route == "distill"]
        return distill(
            distill_config(self.spec),
            [p for p in wins if p.query.id not in held_out],
            self.variant_of,
            self.model,
            target,
            journal,
            self.progress,
            held_out=[p for p in wins if p.query.id in held_out],
            start=start,
        )

    def _save(self, target: Path, gate: GateResult, report: DistillReport) -> BundleInfo:
        gate.gate.save(target)
        info = BundleInfo(
            name=self.spec.name,
            base=identify(self.model),
            threshold=gate.report.threshold,
            personas=tuple(self.personas),
            command=self.command,
            seed=self.spec.seed,
            settings=pack(self.spec),
            metrics={
                "Gate ROC-AUC": gate.report.held_out.auc,
                **_wanted_auc(gate, self.wanted),
                **_decisions(gate.report),
                **self.opens,
                "KL to the persona teacher, base": report.kl_before,
                "KL to the persona teacher, adapter": report.kl_after,
            },
            notes=tuple(self.notes),
            held_out=tuple(sorted(gate.report.held_out_ids)),
        )
        write_info(target, info)
        return info

    def _compare(
        self, judged: Sequence[JudgedPair], gate: GateResult, report: DistillReport, bundle: Path
    ) -> BundleInfo:
        """Compare PRISM with the baselines on the held-out queries; note it on the card."""
        ids = gate.report.held_out_ids
        table = ablate_run(
            self.spec, judged, ids, self.folder, self.model, self.journal, self.progress
        )
        info, row = self._save(bundle, gate, report), table.row("prism")
        cells = row.cells if row is not None else {}
        found = {c.label: cells[c.key].estimate for c in table.columns if c.key in cells}
        info = replace(info, metrics={**info.metrics, **found})
        write_info(bundle, info)
        return info
