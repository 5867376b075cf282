"""The paper's own numbers, for overlays: always labelled as reported, never mixed with ours.

Hu, Rostami and Thomason, "Expert Personas Improve LLM Alignment but Damage Accuracy: Bootstrapping
Intent-Based Persona Routing with PRISM", arXiv 2603.18507 (EMNLP 2026). They were measured with
other, larger models on MMLU, MT-Bench (divided by 10) and three safety sets. None = not reported.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportedRow:
    """One row of table 1: shares between 0 and 1."""

    model: str
    row: str
    """`base`, `expert persona` or `PRISM`."""
    mt_bench: float | None
    mmlu: float | None
    safety: float | None


TABLE_1 = (
    ReportedRow("Qwen2.5-7B", "base", 0.756, 0.717, 0.603),
    ReportedRow("Qwen2.5-7B", "expert persona", 0.753, 0.690, 0.673),
    ReportedRow("Qwen2.5-7B", "PRISM", 0.776, 0.717, 0.637),
    ReportedRow("Mistral-7B-v0.3", "base", 0.874, 0.598, None),
    ReportedRow("Mistral-7B-v0.3", "expert persona", 0.716, 0.584, 0.874),
    ReportedRow("Mistral-7B-v0.3", "PRISM", 0.899, 0.598, 0.870),
    ReportedRow("Llama-3.1-8B", "base", 0.723, 0.684, None),
    ReportedRow("Llama-3.1-8B", "expert persona", None, 0.463, None),
    ReportedRow("Llama-3.1-8B", "PRISM", 0.776, 0.684, None),
)


@dataclass(frozen=True)
class ReportedPlacement:
    """Change against no persona, with the persona's text in one of the turns."""

    model: str
    placement: str
    mmlu: float | None
    mt_bench: float | None
    safety: float | None


PLACEMENTS = (
    ReportedPlacement("Mistral-7B-v0.3", "user", -0.013, -0.178, 0.023),
    ReportedPlacement("Qwen2.5-7B", "system", -0.035, -0.013, 0.093),
    ReportedPlacement("Qwen2.5-7B", "user", -0.024, -0.016, 0.074),
    ReportedPlacement("Llama-3.1-8B", "system", -0.133, 0.025, 0.107),
    ReportedPlacement("Llama-3.1-8B", "user", -0.235, 0.003, 0.100),
    ReportedPlacement("Qwen1.5-MoE", "system", -0.026, -0.100, 0.021),
    ReportedPlacement("Qwen1.5-MoE", "user", -0.030, 0.005, -0.004),
    ReportedPlacement("R1-distill-Qwen-7B", "system", -0.182, 0.006, 0.0),
    ReportedPlacement("R1-distill-Qwen-7B", "user", -0.156, -0.214, 0.0),
    ReportedPlacement("R1-distill-Llama-8B", "system", -0.285, 0.035, 0.0),
    ReportedPlacement("R1-distill-Llama-8B", "user", -0.280, -0.158, 0.0),
)

CATEGORY_EFFECTS = {
    "extraction": 0.065,
    "stem": 0.060,
    "reasoning": 0.040,
    "math": -0.010,
    "humanities": -0.020,
    "coding": -0.065,
}
"""Change on MT-Bench (divided by 10) by the long expert persona, Qwen2.5-7B."""
MMLU_BY_LENGTH = {"": 0.716, "min": 0.680, "long": 0.663}
"""Accuracy on MMLU without a persona and by the length of its text, Qwen2.5-7B."""
ROUTING_R, ROUTING_RHO = 0.65, 0.75
"""Share routed against the persona's effect: Pearson's r and Spearman's rho."""


@dataclass(frozen=True)
class ReportedArrow:
    """A step in the plane of accuracy (x) and alignment (y), each before and after."""

    label: str
    x: tuple[float, float]
    y: tuple[float, float]


def tradeoff_points() -> tuple[ReportedArrow, ...]:
    """Return table 1's models with all numbers reported, from base to persona and to PRISM."""
    found = []
    rows = {(r.model, r.row): r for r in TABLE_1}
    for (model, name), row in rows.items():
        base = rows[model, "base"]
        if name == "base":
            continue
        before, after = _alignment(base), _alignment(row)
        if before is None or after is None or base.mmlu is None or row.mmlu is None:
            continue
        found.append(ReportedArrow(f"{model}, {name}", (base.mmlu, row.mmlu), (before, after)))
    return tuple(found)


def _alignment(row: ReportedRow) -> float | None:
    """Return the mean of MT-Bench and safety, where both are reported."""
    if row.mt_bench is None or row.safety is None:
        return None
    return (row.mt_bench + row.safety) / 2
