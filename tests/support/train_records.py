"""A finished training run as records of the store, for tests that look at runs without training."""

from __future__ import annotations

from dataclasses import replace

from prism_core.prism.ablation.table import AblationCell, AblationColumn, AblationRow, AblationTable
from prism_core.prism.distillation.report import CurvePoint
from prism_core.prism.gating.report import (
    GateConfig,
    GateEpoch,
    GateReport,
    GateRow,
    by_group,
    quality_of,
)
from prism_core.prism.records import JudgedPair
from prism_core.prism.spec import TrainSpec
from prism_core.storage import RunRow, Store, pack
from prism_core.types import Completion, Estimate
from support.gated_parts import judged_pairs

ME = "a" * 32
EVIL = "<script>alert(1)</script> {x} `y`"


def gate_report(pairs: list[JudgedPair]) -> GateReport:
    """Return two held-out wins at 0.9 and 0.6 and losses at 0.7 and 0.1; the rest was learnt."""
    given = [0.9, 0.7, 0.6, 0.1, 0.8, 0.2]
    rows = tuple(
        GateRow(
            p.pair.query.id,
            p.pair.query.persona,
            p.pair.query.subtopic,
            p.route == "distill",
            i < 4,
            given[i],
            given[i],
        )
        for i, p in enumerate(pairs)
    )
    held = [r for r in rows if r.held_out]
    quality = quality_of(held, 0.5, 0)
    return GateReport(
        trained=True,
        feature="last",
        features=(),
        epoch=3,
        curve=(GateEpoch(1, 0.7, 0.8), GateEpoch(2, 0.5, None)),
        threshold=0.5,
        held_out=quality,
        out_of_fold=quality,
        by_persona=by_group(rows, lambda r: r.persona, 0.5),
        by_subtopic=(),
        rows=rows,
        warnings=("Few queries.",),
        config=GateConfig(),
    )


def comparison() -> AblationTable:
    """Return two systems and three columns, one of them without a number."""
    cells = {
        "win_rate": AblationCell(Estimate(0.5, 0.25, 0.75, 4)),
        "routed": AblationCell(Estimate(1, 0.5, 1, 4)),
    }
    return AblationTable(
        columns=(
            AblationColumn("win_rate", "Win rate", "score"),
            AblationColumn("routed", "Routed", "rate"),
            AblationColumn("seconds", "Time", "number", "s"),
        ),
        rows=(AblationRow("base", "Base", {}), AblationRow("prism", "PRISM", cells)),
        missing=(),
        queries=4,
        wanted=2,
        judge="a program",
    )


def make_run(store: Store, owner: str = ME, **changes: object) -> RunRow:
    """Create a run of which all stages have left their records."""
    spec = replace(TrainSpec(preset="custom", personas=("math", "critic")), **changes)
    run = store.create_run("train", "A <b>run</b>", pack(spec), owner)
    pairs = judged_pairs()
    evil = replace(pairs[0].pair, persona=Completion(f"Arr {EVIL}", tokens=5, finish="length"))
    pairs[0] = replace(pairs[0], pair=evil)
    store.put_records(run.id, "query_set", {p.pair.query.id: p.pair.query for p in pairs})
    store.put_records(run.id, "answers", {p.pair.query.id: p.pair for p in pairs})
    store.put_records(run.id, "verification", {p.pair.query.id: p.verdict for p in pairs[:5]})
    store.put_records(run.id, "gate", {"report": gate_report(pairs)})
    store.put_records(run.id, "gate_curve", {"epoch-0001": GateEpoch(1, 0.7, 0.8)})
    curve = {f"step-{i:06d}": CurvePoint(i, i / 2, 1.0 - i / 10) for i in (1, 0, 2)}
    store.put_records(run.id, "distillation_curve", curve)
    store.put_records(run.id, "ablation", {"table": comparison()})
    end = {"has_adapter": True, "seconds": 75.0, "notes": ["One note."], "info": None}
    store.put_records(run.id, "result", {"result": end})
    return run


def finish(store: Store, run: RunRow) -> RunRow:
    """Mark the run as done."""
    store.claim_next("worker")
    store.finish(run.id, "done", worker_id="worker")
    return store.get_run(run.id)
