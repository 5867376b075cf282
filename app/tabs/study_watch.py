"""Watching a study: its state and the buttons that change it. The store is the truth.

A timer asks while something can change and rests otherwise, so a page that lost its connection, or
was closed, finds the study as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from app.shared import Shared, fragment
from app.views.study_progress import study_panel
from app.views.text import notice
from app.visitor import need_visitor, read_visitor
from prism_core.errors import PrismError
from prism_core.storage import RunRow
from prism_core.study_records import ANSWERS

POLL_SECONDS = 1.5


@dataclass(frozen=True)
class StudyWatch:
    """The components around a study's run."""

    run_id: gr.Textbox
    timer: gr.Timer
    box: gr.Column
    runs: gr.Dropdown
    panel: gr.HTML
    explore: gr.Button
    cancel: gr.Button
    resume: gr.Button
    delete: gr.Button
    confirm: gr.Row
    confirm_delete: gr.Button
    confirm_keep: gr.Button
    status: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """What `StudyWatcher.look` sets."""
        return [
            self.box, self.panel, self.explore, self.cancel, self.resume, self.delete, self.timer
        ]  # fmt: skip


def build_study_watch() -> StudyWatch:
    """Lay the study's run out; it is hidden until there is one."""
    parts: dict[str, Any] = {
        "run_id": gr.Textbox(visible="hidden", elem_id="px-study-run"),
        "timer": gr.Timer(POLL_SECONDS, active=False),
    }
    with gr.Column(visible=False, elem_id="px-study-watch", elem_classes="px-card") as box:
        parts["runs"] = gr.Dropdown(label="Your studies", visible=False, elem_id="px-study-runs")
        parts["panel"] = fragment(elem_id="px-study-panel")
        with gr.Row(elem_classes="px-tools"):
            parts["explore"] = gr.Button(
                "Explore the results", variant="primary", visible=False, elem_id="px-study-explore"
            )
            parts["cancel"] = gr.Button(
                "Cancel", variant="stop", visible=False, elem_id="px-study-cancel"
            )
            parts["resume"] = gr.Button("Resume", visible=False, elem_id="px-study-resume")
            parts["delete"] = gr.Button(
                "Delete study", size="sm", visible=False, elem_id="px-study-run-delete"
            )
        with gr.Row(visible=False, elem_classes="px-tools") as confirm:
            fragment('<p class="px-warning">Delete this study and its answers?</p>')
            parts["confirm_delete"] = gr.Button("Yes, delete it", size="sm", variant="stop")
            parts["confirm_keep"] = gr.Button("Keep it", size="sm")
        parts["confirm"] = confirm
        parts["status"] = fragment(elem_id="px-study-run-status")
    return StudyWatch(box=box, **parts)


@dataclass(frozen=True)
class StudyWatcher:
    """The listeners around one study's run."""

    shared: Shared

    def look(self, run_id: str, stored: object) -> list[Any]:
        """The run as it stands. Sets `StudyWatch.outputs`."""
        if not run_id:
            return [gr.Column(visible=False), *[gr.skip()] * 5, gr.Timer(active=False)]
        try:
            run = self._run(run_id)
            if run is None:
                return [gr.Column(visible=False), *[gr.skip()] * 5, gr.Timer(active=False)]
            answers = self.shared.store.count_records(run.id).get(ANSWERS, 0)
            position = self.shared.jobs.queue_position(run.id)
        except PrismError as error:
            return [gr.Column(visible=True), notice("error", str(error)), *[gr.skip()] * 5]
        mine, active = read_visitor(stored) == run.owner, not run.is_ended
        word = "Explore the results" if run.status == "done" else "Explore partial results"
        return [
            gr.Column(visible=True),
            study_panel(run, position, answers),
            gr.Button(word, visible=answers > 0),
            gr.Button(visible=mine and active, interactive=run.status != "cancelling"),
            gr.Button(visible=mine and run.status in ("cancelled", "failed")),
            gr.Button(visible=mine and run.is_ended),
            gr.Timer(active=active),
        ]

    def arrive(self, run_id: str, stored: object, request: gr.Request) -> list[Any]:
        """The run that a link or the visitor asks for; gives (run id, runs, set-up)."""
        asked = str(dict(request.query_params).get("study", ""))[:80]
        run = self._run(asked) if asked else None
        if run is None:
            owner = read_visitor(stored)
            latest = self.shared.store.list_runs(owner, "study", limit=1) if owner else []
            run = latest[0] if latest else None
        found = run_id or (run.id if run is not None else "")
        fold = gr.Accordion(open=False) if found and not run_id else gr.skip()
        return [found, self.choices(stored, found), fold]

    def choices(self, stored: object, run_id: str) -> Any:
        """The visitor's studies, newest first."""
        owner = read_visitor(stored)
        runs = self.shared.store.list_runs(owner, "study", limit=50) if owner else []
        names = [(_label(run), run.id) for run in runs]
        known = any(run_id == value for _, value in names)
        return gr.Dropdown(names, value=run_id if known else None, visible=len(names) > 1)

    def cancel(self, run_id: str, stored: object) -> str:
        """Stop the study; gives the status line."""
        try:
            self.shared.jobs.cancel(run_id, need_visitor(stored))
        except PrismError as error:
            return notice("error", str(error))
        return ""

    def resume(self, run_id: str, stored: object) -> str:
        """Let the study go on; gives the status line."""
        try:
            self.shared.jobs.resume(run_id, need_visitor(stored))
        except PrismError as error:
            return notice("error", str(error))
        return ""

    def delete(self, run_id: str, stored: object) -> list[Any]:
        """Delete the study; gives (status, confirmation, run id, runs)."""
        hidden = gr.Row(visible=False)
        try:
            self.shared.store.delete_run(run_id, need_visitor(stored))
        except PrismError as error:
            return [notice("error", str(error)), hidden, run_id, gr.skip()]
        owner = read_visitor(stored)
        left = self.shared.store.list_runs(owner, "study", limit=1) if owner else []
        found = left[0].id if left else ""
        return [notice("done", "The study is deleted."), hidden, found,
                self.choices(stored, found)]  # fmt: skip

    def _run(self, run_id: str) -> RunRow | None:
        try:
            run = self.shared.store.get_run(run_id)
        except PrismError:
            return None
        return run if run.kind == "study" else None


def _label(run: RunRow) -> str:
    when = datetime.fromtimestamp(run.created, UTC).strftime("%d %b %H:%M")
    return f"{run.title} · {run.status} · {when} UTC"
