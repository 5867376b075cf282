"""Watching a reinforcement-learning run: its curves, sample answers, results and buttons.

A timer asks the store while something can change and rests otherwise, so a page that lost its
connection, or was closed, finds the run as it stands. Figures are only sent when they changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from app.adapters_shelf import FOLDER
from app.rl_story import RlStory, find_rl_run, read_rl_story
from app.shared import Shared, fragment
from app.views.rl_charts import kl_figure, length_figure, loss_figure, reward_figure
from app.views.rl_progress import rl_panel, rl_results, rollouts_html
from app.views.text import notice
from app.visitor import need_visitor, read_visitor
from prism_core.bundle import INFO_FILE
from prism_core.errors import PrismError
from prism_core.storage import RunRow

POLL_SECONDS = 1.5


@dataclass(frozen=True)
class RlWatch:
    """The components around a run."""

    run_id: gr.Textbox
    seen: gr.State
    timer: gr.Timer
    box: gr.Column
    runs: gr.Dropdown
    panel: gr.HTML
    reward: gr.Plot
    kl: gr.Plot
    length: gr.Plot
    results: gr.HTML
    rollouts: gr.HTML
    cancel: gr.Button
    resume: gr.Button
    try_it: gr.Button
    delete: gr.Button
    confirm: gr.Row
    confirm_delete: gr.Button
    confirm_keep: gr.Button
    status: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """What `RlWatcher.look` sets."""
        return [
            self.box, self.panel, self.reward, self.kl, self.length, self.results, self.rollouts,
            self.cancel, self.resume, self.try_it, self.delete, self.timer, self.seen,
        ]  # fmt: skip


def build_rl_watch() -> RlWatch:
    """Lay the run out; it is hidden until there is one."""
    parts: dict[str, Any] = {
        "run_id": gr.Textbox(visible="hidden", elem_id="px-rl-id"),
        "seen": gr.State(None),
        "timer": gr.Timer(POLL_SECONDS, active=False),
    }
    with gr.Column(visible=False, elem_id="px-rl-watch", elem_classes="px-card") as box:
        parts["runs"] = gr.Dropdown(label="Your runs", visible=False, elem_id="px-rl-runs")
        parts["panel"] = fragment(elem_id="px-rl-panel")
        with gr.Row(elem_classes="px-tools"):
            parts["cancel"] = gr.Button(
                "Cancel", variant="stop", visible=False, elem_id="px-rl-cancel"
            )
            parts["resume"] = gr.Button("Resume", visible=False, elem_id="px-rl-resume")
            parts["try_it"] = gr.Button(
                "Try it in Compare", variant="primary", visible=False, elem_id="px-rl-try"
            )
            parts["delete"] = gr.Button(
                "Delete run", size="sm", visible=False, elem_id="px-rl-delete"
            )
        with gr.Row(visible=False, elem_classes="px-tools", elem_id="px-rl-confirm") as confirm:
            fragment('<p class="px-warning">Delete this run and its adapter?</p>')
            parts["confirm_delete"] = gr.Button("Yes, delete it", size="sm", variant="stop")
            parts["confirm_keep"] = gr.Button("Keep it", size="sm")
        parts["confirm"] = confirm
        parts["status"] = fragment(elem_id="px-rl-message")
        parts["results"] = fragment(elem_id="px-rl-results")
        parts["reward"] = gr.Plot(show_label=False, elem_id="px-rl-reward")
        with gr.Row(elem_classes="px-row px-plots"):
            parts["kl"] = gr.Plot(show_label=False, elem_id="px-rl-kl", min_width=300)
            parts["length"] = gr.Plot(show_label=False, elem_id="px-rl-length", min_width=300)
        parts["rollouts"] = fragment(elem_id="px-rl-rollouts")
    parts["box"] = box
    return RlWatch(**parts)


@dataclass(frozen=True)
class RlWatcher:
    """The listeners around one run."""

    shared: Shared

    def look(self, run_id: str, stored: object, seen: object) -> list[Any]:
        """The run as it stands. Sets `RlWatch.outputs`."""
        store = self.shared.store
        try:
            run = find_rl_run(store, run_id, None) if run_id else None
            if run is None:
                return self._nothing()
            story = read_rl_story(store, run)
            position = self.shared.jobs.queue_position(run.id)
        except PrismError as error:
            keep: list[Any] = [gr.skip()] * 11
            return [gr.Column(visible=True), notice("error", str(error)), *keep]
        is_mine = read_visitor(stored) == run.owner
        figures = [gr.skip()] * 3 if seen == story.mark else _figures(story)
        has_adapter = run.status == "done" and (run.path / FOLDER / INFO_FILE).is_file()
        return [
            gr.Column(visible=True),
            rl_panel(story, position),
            *figures,
            rl_results(story),
            rollouts_html(story),
            gr.Button(visible=is_mine and not run.is_ended, interactive=run.status != "cancelling"),
            gr.Button(visible=is_mine and run.status in ("cancelled", "failed")),
            gr.Button(visible=is_mine and has_adapter),
            gr.Button(visible=is_mine and run.is_ended),
            gr.Timer(active=not run.is_ended),
            story.mark,
        ]

    def arrive(self, run_id: str, stored: object, request: gr.Request) -> list[Any]:
        """The run that a link or the visitor asks for; gives (run id, runs, tabs, set-up)."""
        asked = str(dict(request.query_params).get("rl", "")) or None
        owner = read_visitor(stored)
        run = find_rl_run(self.shared.store, asked, owner)
        if run is None and asked:
            run, asked = find_rl_run(self.shared.store, None, owner), None
        found = run.id if run is not None else ""
        tabs = gr.Tabs(selected="rl") if asked and not run_id else gr.skip()
        fold = gr.Accordion(open=False) if found and not run_id else gr.skip()
        return [found, self.choices(stored, found), tabs, fold]

    def choices(self, stored: object, run_id: str) -> Any:
        """The visitor's runs, newest first."""
        owner = read_visitor(stored)
        runs = self.shared.store.list_runs(owner, "rl", limit=50) if owner else []
        names = [(_run_label(run), run.id) for run in runs]
        known = any(run_id == value for _, value in names)
        return gr.Dropdown(names, value=run_id if known else None, visible=len(names) > 1)

    def cancel(self, run_id: str, stored: object) -> str:
        """Stop the run; gives the status line."""
        try:
            self.shared.jobs.cancel(run_id, need_visitor(stored))
        except PrismError as error:
            return notice("error", str(error))
        return ""

    def resume(self, run_id: str, stored: object) -> str:
        """Let the run go on; gives the status line."""
        try:
            self.shared.jobs.resume(run_id, need_visitor(stored))
        except PrismError as error:
            return notice("error", str(error))
        return ""

    def delete(self, run_id: str, stored: object) -> list[Any]:
        """Delete the run; gives (status, confirmation, run id, runs)."""
        try:
            self.shared.store.delete_run(run_id, need_visitor(stored))
        except PrismError as error:
            return [notice("error", str(error)), gr.Row(visible=False), run_id, gr.skip()]
        run = find_rl_run(self.shared.store, None, read_visitor(stored))
        found = run.id if run is not None else ""
        line = notice("done", "The run is deleted.")
        return [line, gr.Row(visible=False), found, self.choices(stored, found)]

    @staticmethod
    def _nothing() -> list[Any]:
        keep: list[Any] = [gr.skip()] * 10
        return [gr.Column(visible=False), *keep, gr.Timer(active=False), None]


def _figures(story: RlStory) -> list[Any]:
    if story.spec.arm == "sft":
        hidden = gr.Plot(visible=False)
        return [gr.Plot(loss_figure(story.steps), visible=True), hidden, hidden]
    return [
        gr.Plot(draw(story.steps), visible=bool(story.steps))
        for draw in (reward_figure, kl_figure, length_figure)
    ]


def _run_label(run: RunRow) -> str:
    when = datetime.fromtimestamp(run.created, UTC).strftime("%d %b %H:%M")
    return f"{run.title} · {run.status} · {when} UTC"
