"""A study's run on the page: its state, how far it is, and how it ended."""

from __future__ import annotations

from app.common.run_views import run_progress, run_state
from app.common.text import count, escape, notice
from prism_core.storage import RunRow

STAGES = {
    "loading": "Loading the model",
    "answering": "Answering",
    "judging": "Judging",
}


def study_panel(run: RunRow, position: int | None, answers: int) -> str:
    """Title, state, progress and ending of a study."""
    stage = STAGES.get(run.stage.partition("@")[0], "")
    now = f'<p class="px-help">{escape(stage)}</p>' if stage and not run.is_ended else ""
    known = ""
    if answers:
        known = f'<p class="px-help">{count(answers, "answer")} kept so far.</p>'
    return (
        f'<section class="px-run"><header><h2>{escape(run.title)}</h2>'
        f'<span class="px-state px-state-{run.status}">{escape(run_state(run, position))}</span>'
        f"</header>{now}{run_progress(run, position)}{_ending(run)}"
        f"{known if run.status != 'done' else ''}</section>"
    )


def _ending(run: RunRow) -> str:
    if run.status == "failed":
        return notice("error", run.message or "It failed.")
    if run.status == "cancelled":
        return notice("warn", "Cancelled. Every answer so far is kept: Resume goes on from there.")
    if run.status == "done":
        return notice("done", "Finished. Explore it, or download it there as one file.")
    return ""
