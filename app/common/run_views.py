"""A run at work, whatever its kind: its state, its place in the queue, how far it is."""

from __future__ import annotations

from app.common.text import count, escape
from prism_core.storage import RunRow


def duration(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def run_state(run: RunRow, position: int | None) -> str:
    """A run's state in a word or two, its place in the queue included."""
    if run.status == "queued":
        return "Next in the queue" if position == 1 else f"Place {position} in the queue"
    return {
        "running": "Running",
        "cancelling": "Stopping",
        "cancelled": "Cancelled",
        "failed": "Failed",
        "done": "Done",
    }[run.status]


def run_progress(run: RunRow, position: int | None) -> str:
    """A bar with what is being done and how long the stage will still take."""
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
