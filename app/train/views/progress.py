"""A run by its stages: what it will do before it starts, and where it stands at work."""

from __future__ import annotations

from typing import Literal

from app.common.run_views import duration, run_card, run_ending
from app.common.text import count, escape, notice
from app.train.story import EndOfRun, Story
from prism_core.prism.forecast import STAGES, StageName, TrainForecast, span_text

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
STEP_OF: dict[str, StageName] = {
    "queries": "queries",
    "query_set": "queries",
    "answers": "answers",
    "judge_check": "judge check",
    "verification": "verification",
    "gate": "gate",
    "gate_training": "gate",
    "teacher": "distillation",
    "distillation": "distillation",
    "ablation": "comparison",
    "comparison": "comparison",
}
"""The step that a reported stage belongs to."""
StepState = Literal["done", "now", "next", "left out"]


def plan_panel(estimate: TrainForecast, machine: str = "", free_bytes: int | None = None) -> str:
    """List the stages with counts and times, and warn where memory at hand is too small.

    The sentence about the `machine` is empty before it was measured.
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


def step_of(stage: str) -> StageName | None:
    """Return the step of a reported stage, suffixes of later rounds left aside."""
    return STEP_OF.get(stage.partition("@")[0])


def run_panel(story: Story, position: int | None) -> str:
    """Show title, state, steps and progress bar of a run."""
    kept = "What was finished is kept: Resume goes on from there."
    ending = run_ending(story.run, kept, _finish(story.result))
    return run_card(story.run, position, _stepper(story), ending)


def _stepper(story: Story) -> str:
    words = {"done": "done", "now": "at work", "next": "to come", "left out": "left out"}
    current = ' aria-current="step"'
    items = "".join(
        f'<li class="px-step px-step-{state.split()[0]}"{current if state == "now" else ""}>'
        f"<span>{escape(STEP_TITLES[name])}<small>{words[state]}</small></span></li>"
        for name, state in step_states(story).items()
    )
    return f'<ol class="px-steps" aria-label="Stages">{items}</ol>'


def step_states(story: Story) -> dict[StageName, StepState]:
    """Tell for each step whether it is done, at work or to come."""
    if story.run.status == "done":
        whole = story.result is None or story.result.has_adapter
        last = len(STAGES) if whole else STAGES.index("gate")
        return {name: "done" if i < last else "left out" for i, name in enumerate(STAGES)}
    now = step_of(story.run.stage)
    place = STAGES.index(now) if now is not None else _reached(story)
    alive = story.run.status in ("running", "cancelling")
    return {
        name: "done" if i < place else "now" if i == place and alive else "next"
        for i, name in enumerate(STAGES)
    }


def _reached(story: Story) -> int:
    """Count the steps that have left something behind, where the run names none at work."""
    places = [STAGES.index(step) for s in story.counts if (step := step_of(s)) is not None]
    return max(places, default=-1) + 1


def _finish(end: EndOfRun | None) -> str:
    if end is None:
        return ""
    spent = duration(end.seconds)
    if end.has_adapter:
        return notice("done", f"Finished after {spent} of work.", end.notes)
    first, rest = (end.notes[-1], end.notes[:-1]) if end.notes else ("There is no adapter.", ())
    return notice("warn", f"{first} It took {spent}.", rest)
