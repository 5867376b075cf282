"""What every tab that follows a run shares: the controls around it, and who may use them.

A run is found by its link, or as the visitor's latest. A timer asks the store while something can
change and rests otherwise, so a page that lost its connection, or was closed, finds the run as it
stands. An id cannot be guessed, so whoever knows it may look; changing a run is its owner's right,
which the store checks.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

import gradio as gr

from app.common.shared import (
    QUIET,
    Confirmation,
    Shared,
    Updates,
    build_confirmation,
    fragment,
    then_script,
)
from app.common.text import notice
from app.services.clients import client_of
from app.services.jobs import Jobs
from app.services.visitor import need_visitor, read_visitor
from prism_core.errors import PrismError
from prism_core.storage import RunKind, RunRow, Store
from prism_core.storage.liveness import is_silent, trouble

POLL_SECONDS = 1.5


@dataclass(frozen=True)
class Watched:
    """A kind of run, as its tab speaks of it."""

    kind: RunKind
    key: str
    """The address's parameter that names one."""
    question: str
    """What is asked before one is deleted."""
    prefix: str
    noun: str = "run"
    plural: str = "runs"
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The ids of the parts that do not follow the prefix."""

    def elem_id(self, part: str) -> str:
        """Return the id of a part's element."""
        return self.renamed.get(part, f"{self.prefix}-{part}")


@dataclass(frozen=True)
class Controls(ABC):
    """The components around any run; a tab adds its own."""

    run_id: gr.Textbox
    seen: gr.State
    """What the last look has drawn; the next one is handed it."""
    timer: gr.Timer
    box: gr.Column
    runs: gr.Dropdown
    trouble: gr.HTML
    """What keeps a run from going on: a frozen worker, a full disk."""
    panel: gr.HTML
    cancel: gr.Button
    resume: gr.Button
    delete: gr.Button
    confirm: Confirmation
    status: gr.HTML

    @property
    @abstractmethod
    def details(self) -> list[Any]:
        """The tab's own components that a look may change."""

    @property
    def outputs(self) -> list[Any]:
        """The components that a look may change."""
        buttons = [self.cancel, self.resume, self.delete, self.timer]
        return [self.box, self.trouble, self.panel, *buttons, self.seen, *self.details]


def build_controls(what: Watched, extra: tuple[int, gr.Button] | None = None) -> dict[str, Any]:
    """Lay the controls out, hidden until there is a run; return the fields of `Controls` by name.

    What the tab adds goes into `box`; `extra` is a button of its own, not rendered yet, and its
    place among the others.
    """

    def button(part: str, text: str, **more: Any) -> gr.Button:
        return gr.Button(text, visible=False, elem_id=what.elem_id(part), render=False, **more)

    parts: dict[str, Any] = {
        "run_id": gr.Textbox(visible="hidden", elem_id=what.elem_id("id")),
        "seen": gr.State(None),
        "timer": gr.Timer(POLL_SECONDS, active=False),
        "cancel": button("cancel", "Cancel", variant="stop"),
        "resume": button("resume", "Resume"),
        "delete": button("delete", f"Delete {what.noun}", size="sm"),
    }
    buttons = [parts[name] for name in ("cancel", "resume", "delete")]
    if extra is not None:
        buttons.insert(*extra)
    with gr.Column(visible=False, elem_id=what.elem_id("watch"), elem_classes="px-card") as box:
        parts["runs"] = gr.Dropdown(
            label=f"Your {what.plural}", visible=False, elem_id=what.elem_id("runs")
        )
        parts["trouble"] = fragment(elem_id=what.elem_id("trouble"))
        parts["panel"] = fragment(elem_id=what.elem_id("panel"))
        with gr.Row(elem_classes="px-tools"):
            for one in buttons:
                one.render()
        parts["confirm"] = build_confirmation(what.question, what.elem_id("confirm"))
        parts["status"] = fragment(elem_id=what.elem_id("status"))
    return {**parts, "box": box}


def find_run(store: Store, kind: RunKind, asked: str | None, owner: str | None) -> RunRow | None:
    """Return the run to show: the one asked for by id, else the visitor's latest."""
    if asked:
        try:
            run = store.get_run(asked)
        except PrismError:
            return None
        return run if run.kind == kind else None
    return next(iter(store.list_runs(owner, kind, limit=1)), None) if owner else None


@dataclass(frozen=True)
class RunWatcher(ABC):
    """The listeners around one run."""

    what: ClassVar[Watched]

    store: Store
    jobs: Jobs
    watch: Controls
    fold: gr.Accordion

    @abstractmethod
    def show(self, run: RunRow, position: int | None, is_mine: bool, seen: object) -> Updates:
        """Show the run as it stands: the panel and the tab's own components.

        `position` is its place in the queue, `seen` what the last look left in `Controls.seen`.
        """

    def forget(self) -> Updates:
        """Return what is left where there is no run."""
        return {self.watch.seen: None}

    def look(self, run_id: str, stored: object, seen: object = None) -> Updates:
        """Show the run as it stands, and who may do what with it."""
        watch = self.watch
        try:
            run = find_run(self.store, self.what.kind, run_id or None, None)
            if run is None:
                hidden, rest = gr.Column(visible=False), gr.Timer(active=False)
                return {watch.box: hidden, watch.timer: rest, **self.forget()}
            is_mine = read_visitor(stored) == run.owner
            shown = self.show(run, self.jobs.queue_position(run.id), is_mine, seen)
        except PrismError as error:
            return {watch.box: gr.Column(visible=True), watch.panel: notice("error", str(error))}
        can_cancel = is_mine and not run.is_ended
        stopping = run.status == "cancelling"
        now = time.time()
        problem = trouble(run, self.store.home, now)
        stuck = is_silent(run, now)
        can_resume = stuck or run.status in ("cancelled", "failed")
        return {
            watch.box: gr.Column(visible=True),
            watch.trouble: notice("warn", problem),
            watch.cancel: gr.Button(visible=can_cancel, interactive=not stopping),
            watch.resume: gr.Button(
                "Try again" if stuck else "Resume", visible=is_mine and can_resume
            ),
            watch.delete: gr.Button(visible=is_mine and run.is_ended),
            watch.timer: gr.Timer(active=not run.is_ended),
            **shown,
        }

    def arrive(self, run_id: str, stored: object, request: gr.Request) -> Updates:
        """Find the run that a link or the visitor asks for."""
        asked = str(dict(request.query_params).get(self.what.key, "")) or None
        owner = read_visitor(stored)
        run = find_run(self.store, self.what.kind, asked, owner)
        if run is None and asked:
            run = find_run(self.store, self.what.kind, None, owner)
        found = run_id or (run.id if run is not None else "")
        updates = {self.watch.run_id: found, **self.choices(stored, found)}
        if found and not run_id:
            updates[self.fold] = gr.Accordion(open=False)
        return updates

    def choices(self, stored: object, run_id: str) -> Updates:
        """Offer the visitor's runs, newest first."""
        owner = read_visitor(stored)
        runs = self.store.list_runs(owner, self.what.kind, limit=50) if owner else []
        names = [(_label(run), run.id) for run in runs]
        known = any(run_id == value for _, value in names)
        shown = gr.Dropdown(names, value=run_id if known else None, visible=len(names) > 1)
        return {self.watch.runs: shown}

    def cancel(self, run_id: str, stored: object) -> Updates:
        """Stop the run."""
        return {self.watch.status: self._change(self.jobs.cancel, run_id, stored)}

    def resume(self, run_id: str, stored: object, request: gr.Request) -> Updates:
        """Let the run go on."""
        again = partial(self.jobs.resume, client=client_of(request))
        return {self.watch.status: self._change(again, run_id, stored)}

    def delete(self, run_id: str, stored: object) -> Updates:
        """Delete the run and show the latest of the others."""
        watch, hidden = self.watch, gr.Row(visible=False)
        refused = self._change(self.store.delete_run, run_id, stored)
        if refused:
            return {watch.status: refused, watch.confirm.row: hidden}
        run = find_run(self.store, self.what.kind, None, read_visitor(stored))
        found = run.id if run is not None else ""
        line = notice("done", f"The {self.what.noun} is deleted.")
        updates = {watch.status: line, watch.confirm.row: hidden, watch.run_id: found}
        return {**updates, **self.choices(stored, found)}

    @staticmethod
    def _change(act: Callable[[str, str], object], run_id: str, stored: object) -> str:
        try:
            act(run_id, need_visitor(stored))
        except PrismError as error:
            return notice("error", str(error))
        return ""

    def wire(self, shared: Shared, tab: gr.Tab, started: Any) -> None:
        """Connect the controls; a run is looked for when `tab` is opened.

        After the event `started`, `run_id` names a run that was just started.
        """
        watch, visitor = self.watch, shared.visitor_state
        mine = [watch.run_id, visitor]
        look: dict[str, Any] = {
            "fn": self.look,
            "inputs": [*mine, watch.seen],
            "outputs": watch.outputs,
            **QUIET,
        }
        tab.select(self.arrive, mine, [watch.run_id, watch.runs, self.fold], **QUIET)
        gr.on([watch.run_id.change, watch.timer.tick], **look)
        started.then(self.choices, [visitor, watch.run_id], watch.runs, **QUIET)
        chosen = watch.runs.input(lambda run: run or "", watch.runs, watch.run_id, **QUIET)
        # The address names the run on the screen, so a reload finds it. A refused start leaves it.
        for event in (started, chosen):
            script = f"(id) => window.prism.showRun('{self.what.key}', id)"
            then_script(event, script, watch.run_id)
        for button, listener in ((watch.cancel, self.cancel), (watch.resume, self.resume)):
            button.click(listener, mine, watch.status, **QUIET).then(**look)
        watch.confirm.ask_at(watch.delete)
        watch.confirm.yes.click(
            self.delete, mine, [watch.status, watch.confirm.row, watch.run_id, watch.runs], **QUIET
        )


def _label(run: RunRow) -> str:
    when = datetime.fromtimestamp(run.created, UTC).strftime("%d %b %H:%M")
    return f"{run.title} · {run.status} · {when} UTC"
