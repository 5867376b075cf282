"""A run at work: where it stands, how far it is, what it says about itself."""

from __future__ import annotations

from typing import Literal

from app.common.run_views import duration, run_card, run_ending
from app.common.text import escape, notice
from app.train.story import EndOfRun, Story
from app.train.views.plan import STEP_TITLES
from prism_core.prism.forecast import STAGES, StageName

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
