"""What a training run will do, before it starts: the stages in words, their times, the memory."""

from __future__ import annotations

from app.common.text import count, escape
from prism_core.prism.forecast import StageName, TrainForecast, span_text

STEP_TITLES: dict[StageName, str] = {
    "queries": "Questions",
    "answers": "Answers",
    "judge check": "Judge check",
    "verification": "Verdicts",
    "gate": "Gate",
    "distillation": "Distillation",
    "comparison": "Comparison",
}
"""The stages' names as shown to people."""


def plan_panel(estimate: TrainForecast, machine: str = "", free_bytes: int | None = None) -> str:
    """List the stages with counts and times.

    Args:
        estimate: what the run will do.
        machine: what was measured, as a sentence; empty before the probe.
        free_bytes: memory at hand, for a warning.
    """
    rows = "".join(
        f"<li><b>{escape(STEP_TITLES[s.stage])}</b>"
        f"<span>{escape(s.sentence)}</span>"
        f"<i>{escape(span_text(s.time) if s.time is not None else '')}</i></li>"
        for s in estimate.stages
    )
    total = f'<p class="px-plan-total">{escape(estimate.sentence)}</p>'
    return (
        f'<section class="px-plan" aria-label="What will happen"><h3>What will happen</h3>'
        f"<ol>{rows}</ol>{total}{_memory_note(estimate, free_bytes)}"
        f'<p class="px-help">{escape(_fine_print(estimate, machine))}</p></section>'
    )


def _fine_print(estimate: TrainForecast, machine: str) -> str:
    if estimate.time is None:
        return f"{count(estimate.queries, 'question')}, {count(estimate.answers, 'answer')}."
    return (
        f"{machine} The shorter time holds if answers are half as long as allowed and a quarter "
        "of them wins, the longer one if all are as long as allowed and all win."
    )


def _memory_note(estimate: TrainForecast, free_bytes: int | None) -> str:
    need = estimate.memory_bytes
    if need is None or free_bytes is None or need <= free_bytes:
        return ""
    return (
        '<p class="px-warning">'
        f"Only {free_bytes / 1e9:.1f} GB of memory are free here now. Choose shorter answers or "
        "a smaller model.</p>"
    )
