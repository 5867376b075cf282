"""Watching a run: its state, its live figures, and the buttons that change it.

A timer asks the store while something can change and rests otherwise, so a page that lost its
connection, or was closed, finds the run as it stands. Figures are only sent when they changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from app.jobs import Jobs
from app.shared import fragment
from app.train_story import Story, find_run, read_story
from app.views.text import notice
from app.views.train_charts import distill_figure, gate_curve_figure, routes_figure
from app.views.train_progress import run_panel
from app.visitor import need_visitor, read_visitor
from prism_core.errors import PrismError
from prism_core.run_parts import personas_of
from prism_core.storage import RunRow, Store
from prism_core.train_spec import TrainSpec
from prism_core.types import Persona

POLL_SECONDS = 1.5


@dataclass(frozen=True)
class Watch:
    """The components around a run."""

    run_id: gr.Textbox
    mark: gr.Textbox
    seen: gr.State
    timer: gr.Timer
    box: gr.Column
    runs: gr.Dropdown
    panel: gr.HTML
    routes: gr.Plot
    gate: gr.Plot
    distil: gr.Plot
    cancel: gr.Button
    resume: gr.Button
    delete: gr.Button
    confirm: gr.Row
    confirm_delete: gr.Button
    confirm_keep: gr.Button
    status: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """What `Watcher.look` sets."""
        return [
            self.box,
            self.panel,
            self.routes,
            self.gate,
            self.distil,
            self.cancel,
            self.resume,
            self.delete,
            self.timer,
            self.seen,
            self.mark,
        ]


def build_watch() -> Watch:
    """Lay the run out; it is hidden until there is one."""
    parts: dict[str, Any] = {
        "run_id": gr.Textbox(visible="hidden", elem_id="px-run-id"),
        "mark": gr.Textbox(visible="hidden", elem_id="px-run-mark"),
        "seen": gr.State(None),
        "timer": gr.Timer(POLL_SECONDS, active=False),
    }
    with gr.Column(visible=False, elem_id="px-watch", elem_classes="px-card") as box:
        parts["runs"] = gr.Dropdown(label="Your runs", visible=False, elem_id="px-runs")
        parts["panel"] = fragment(elem_id="px-run-panel")
        with gr.Row(elem_classes="px-tools"):
            parts["cancel"] = gr.Button(
                "Cancel", variant="stop", visible=False, elem_id="px-run-cancel"
            )
            parts["resume"] = gr.Button("Resume", visible=False, elem_id="px-run-resume")
            parts["delete"] = gr.Button(
                "Delete run", size="sm", visible=False, elem_id="px-run-delete"
            )
        with gr.Row(visible=False, elem_classes="px-tools", elem_id="px-run-confirm") as confirm:
            fragment('<p class="px-warning">Delete this run, its answers and its adapter?</p>')
            parts["confirm_delete"] = gr.Button("Yes, delete it", size="sm", variant="stop")
            parts["confirm_keep"] = gr.Button("Keep it", size="sm")
        parts["confirm"] = confirm
        parts["status"] = fragment(elem_id="px-run-status")
        parts["routes"] = gr.Plot(show_label=False, elem_id="px-routes")
        with gr.Row(elem_classes="px-row px-plots"):
            parts["gate"] = gr.Plot(show_label=False, elem_id="px-gate-curve", min_width=300)
            parts["distil"] = gr.Plot(show_label=False, elem_id="px-distil-curve", min_width=300)
    parts["box"] = box
    return Watch(**parts)


@dataclass(frozen=True)
class Watcher:
    """The listeners around one run."""

    store: Store
    jobs: Jobs
    library: Mapping[str, Persona]

    def look(self, run_id: str, stored: object, seen: object) -> list[Any]:
        """The run as it stands. Sets `Watch.outputs`."""
        try:
            run = find_run(self.store, run_id or None, None)
            if run is None:
                return self._nothing()
            story = read_story(self.store, run)
            position = self.jobs.queue_position(run.id)
        except PrismError as error:
            keep: list[Any] = [gr.skip()] * 9
            return [gr.Column(visible=True), notice("error", str(error)), *keep]
        titles = self.titles(story.spec)
        is_mine = read_visitor(stored) == run.owner
        before = seen if isinstance(seen, dict) and seen.get("run") == run.id else {}
        now = {"run": run.id, **_signatures(story)}
        active = not run.is_ended
        figures = [
            gr.skip() if now[name] == before.get(name) else gr.Plot(draw(), visible=bool(parts))
            for name, parts, draw in (
                ("routes", story.routes, lambda: routes_figure(story.routes, titles)),
                ("gate", story.gate_curve, lambda: gate_curve_figure(story.gate_curve)),
                ("distil", story.curve, lambda: distill_figure(story.curve)),
            )
        ]
        return [
            gr.Column(visible=True),
            run_panel(story, position),
            *figures,
            gr.Button(visible=is_mine and active, interactive=run.status != "cancelling"),
            gr.Button(visible=is_mine and run.status in ("cancelled", "failed")),
            gr.Button(visible=is_mine and run.is_ended),
            gr.Timer(active=active),
            now,
            now["mark"],
        ]

    def arrive(self, run_id: str, stored: object, request: gr.Request) -> list[Any]:
        """The run that a link or the visitor asks for; gives (run id, runs, tabs, set-up)."""
        asked = str(dict(request.query_params).get("run", "")) or None
        owner = read_visitor(stored)
        run = find_run(self.store, asked, owner)
        if run is None:
            run = find_run(self.store, None, owner)
            asked = None
        found = run.id if run is not None else ""
        tabs = gr.Tabs(selected="train") if asked and not run_id else gr.skip()
        fold = gr.Accordion(open=False) if found and not run_id else gr.skip()
        return [found, self.choices(stored, found), tabs, fold]

    def choices(self, stored: object, run_id: str) -> Any:
        """The visitor's runs, newest first."""
        owner = read_visitor(stored)
        runs = self.store.list_runs(owner, "train", limit=50) if owner else []
        names = [(_run_label(run), run.id) for run in runs]
        known = any(run_id == value for _, value in names)
        return gr.Dropdown(names, value=run_id if known else None, visible=len(names) > 1)

    def cancel(self, run_id: str, stored: object) -> str:
        """Stop the run; gives the status line."""
        try:
            self.jobs.cancel(run_id, need_visitor(stored))
        except PrismError as error:
            return notice("error", str(error))
        return ""

    def resume(self, run_id: str, stored: object) -> str:
        """Let the run go on; gives the status line."""
        try:
            self.jobs.resume(run_id, need_visitor(stored))
        except PrismError as error:
            return notice("error", str(error))
        return ""

    def delete(self, run_id: str, stored: object) -> list[Any]:
        """Delete the run; gives (status, confirmation, run id, runs)."""
        owner = read_visitor(stored)
        try:
            self.store.delete_run(run_id, need_visitor(stored))
        except PrismError as error:
            return [notice("error", str(error)), gr.Row(visible=False), run_id, gr.skip()]
        run = find_run(self.store, None, owner)
        found = run.id if run is not None else ""
        line = notice("done", "The run is deleted.")
        return [line, gr.Row(visible=False), found, self.choices(stored, found)]

    def titles(self, spec: TrainSpec) -> dict[str, str]:
        """The personas' names as shown to people, a run's own ones included."""
        people = {**self.library, **personas_of(spec)}
        return {name: persona.title for name, persona in people.items()}

    @staticmethod
    def _nothing() -> list[Any]:
        keep: list[Any] = [gr.skip()] * 7
        return [gr.Column(visible=False), *keep, gr.Timer(active=False), None, ""]


def _signatures(story: Story) -> dict[str, str]:
    """Short texts that change when the parts of the page have to."""
    counts = story.counts
    routes = str([(r.distill, r.retain, r.waiting) for r in story.routes])
    parts = ("verification", "judge_check", "gate", "distillation", "ablation", "result")
    mark = f"{story.run.id} " + " ".join(f"{counts.get(p, 0)}" for p in parts)
    distil = str((len(story.curve), story.run.status))
    return {"routes": routes, "gate": str(len(story.gate_curve)), "distil": distil, "mark": mark}


def _run_label(run: RunRow) -> str:
    when = datetime.fromtimestamp(run.created, UTC).strftime("%d %b %H:%M")
    return f"{run.title} · {run.status} · {when} UTC"
