"""A run of any kind as HTML: its state, its place in the queue, how far it is, how it ended."""

from __future__ import annotations

from app.common.text import count, escape, notice
from prism_core.storage import RunRow


def duration(seconds: float) -> str:
    """Return `8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def run_state(run: RunRow, position: int | None) -> str:
    """Return a run's state in a word or two, its place in the queue included."""
    if run.status == "queued":
        return "Next in the queue" if position == 1 else f"Place {position} in the queue"
    return "Stopping" if run.status == "cancelling" else run.status.capitalize()


def run_card(run: RunRow, position: int | None, about: str, ending: str) -> str:
    """Return title, state and progress of a run, with HTML below the title and at the end.

    Its `position` in the queue is counted from 1; see `Jobs.queue_position`.
    """
    return (
        f'<section class="px-run"><header><h2>{escape(run.title)}</h2>'
        f'<span class="px-state px-state-{run.status}">{escape(run_state(run, position))}</span>'
        f"</header>{about}{run_progress(run, position)}{ending}</section>"
    )


def run_ending(run: RunRow, kept: str, done: str) -> str:
    """Say how a run ended: why it failed, what a cancelled one has kept, or `done`."""
    if run.status == "failed":
        return notice("error", run.message or "It failed.")
    if run.status == "cancelled":
        return notice("warn", f"Cancelled. {kept}")
    return done if run.status == "done" else ""


def run_progress(run: RunRow, position: int | None) -> str:
    """Draw a bar with what is being done and how long the stage will still take."""
    if run.status == "queued":
        ahead = (position or 1) - 1
        line = f"{count(ahead, 'run')} before it." if ahead else "It starts in a moment."
        return f'<p class="px-help">{line}</p>'
    if run.status not in ("running", "cancelling"):
        return ""
    share = run.fraction
    width = f"{share * 100:.1f}" if share is not None else "0"
    left = ""
    if run.seconds_left is not None and share is not None and share < 1:
        left = f"about {duration(run.seconds_left)} left in this stage"
    note = run.note or "Starting the worker and loading the model"
    return (
        f'<div class="px-bar" role="progressbar" aria-label="This stage" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{width}"><i style="width:{width}%"></i></div>'
        f'<p class="px-progress"><span>{escape(note[:1].upper() + note[1:])}</span>'
        f"<span>{escape(left)}</span></p>"
    )
