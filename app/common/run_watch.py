"""What every tab that follows a run shares: the controls around it, and who may use them.

A run is found by its link, or as the visitor's latest. A timer asks the store while something can
change and rests otherwise, so a page that lost its connection, or was closed, finds the run as it
stands. An id cannot be guessed, so whoever knows it may look; changing a run is its owner's right,
which the store checks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import gradio as gr

from app.common.shared import QUIET, Shared, fragment
from app.common.text import notice
from app.services.jobs import Jobs
from app.services.visitor import need_visitor, read_visitor
from prism_core.errors import PrismError
from prism_core.storage import RunKind, RunRow, Store

POLL_SECONDS = 1.5


@dataclass(frozen=True)
class Watched:
    """A kind of run, as its tab speaks of it."""

    kind: RunKind
    """What the store calls it."""
    noun: str
    """What the page calls one."""
    plural: str
    """What the page calls several."""
    key: str
    """The address's parameter that names one."""
    question: str
    """What is asked before one is deleted."""
    prefix: str
    """How the ids of its elements begin."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The ids of the parts that do not follow the prefix."""

    def elem_id(self, part: str) -> str:
        """The id of a part's element."""
        return self.renamed.get(part, f"{self.prefix}-{part}")


@dataclass(frozen=True)
class Controls(ABC):
    """The components around any run; a tab adds its own."""

    run_id: gr.Textbox
    timer: gr.Timer
    box: gr.Column
    runs: gr.Dropdown
    panel: gr.HTML
    cancel: gr.Button
    resume: gr.Button
    delete: gr.Button
    confirm: gr.Row
    confirm_delete: gr.Button
    confirm_keep: gr.Button
    status: gr.HTML

    @property
    @abstractmethod
    def details(self) -> list[Any]:
        """What the tab shows of a run beside the panel."""

    @property
    def memory(self) -> list[Any]:
        """What the page remembers of a look; the next look is handed the first."""
        return []

    @property
    def outputs(self) -> list[Any]:
        """What `RunWatcher.look` sets."""
        buttons = [self.cancel, self.resume, self.delete, self.timer]
        return [self.box, self.panel, *self.details, *buttons, *self.memory]


def build_controls(what: Watched, extra: tuple[int, gr.Button] | None = None) -> dict[str, Any]:
    """Lay the controls out; they are hidden until there is a run.

    Args:
        what: the kind of run.
        extra: the tab's own button, not rendered yet, and its place among the others.

    Returns:
        The fields of `Controls` by name; what the tab adds goes into `box`.
    """
    parts: dict[str, Any] = {
        "run_id": gr.Textbox(visible="hidden", elem_id=what.elem_id("id")),
        "timer": gr.Timer(POLL_SECONDS, active=False),
        "cancel": _button(what, "cancel", "Cancel", variant="stop"),
        "resume": _button(what, "resume", "Resume"),
        "delete": _button(what, "delete", f"Delete {what.noun}", size="sm"),
    }
    buttons = [parts[name] for name in ("cancel", "resume", "delete")]
    if extra is not None:
        buttons.insert(*extra)
    with gr.Column(visible=False, elem_id=what.elem_id("watch"), elem_classes="px-card") as box:
        parts["runs"] = gr.Dropdown(
            label=f"Your {what.plural}", visible=False, elem_id=what.elem_id("runs")
        )
        parts["panel"] = fragment(elem_id=what.elem_id("panel"))
        with gr.Row(elem_classes="px-tools"):
            for button in buttons:
                button.render()
        with gr.Row(
            visible=False, elem_classes="px-tools", elem_id=what.elem_id("confirm")
        ) as confirm:
            fragment(f'<p class="px-warning">{what.question}</p>')
            parts["confirm_delete"] = gr.Button("Yes, delete it", size="sm", variant="stop")
            parts["confirm_keep"] = gr.Button("Keep it", size="sm")
        parts["status"] = fragment(elem_id=what.elem_id("status"))
    return {**parts, "box": box, "confirm": confirm}


def _button(what: Watched, part: str, text: str, **more: Any) -> gr.Button:
    return gr.Button(text, visible=False, elem_id=what.elem_id(part), render=False, **more)


def find_run(store: Store, kind: RunKind, asked: str | None, owner: str | None) -> RunRow | None:
    """The run to show: the one asked for by id, else the visitor's latest."""
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
    """The kind of run."""
    details: ClassVar[int]
    """How many components `Controls.details` names."""
    forgotten: ClassVar[tuple[Any, ...]] = ()
    """What `Controls.memory` holds where there is no run."""

    store: Store
    jobs: Jobs

    @abstractmethod
    def show(
        self, run: RunRow, position: int | None, is_mine: bool, seen: object
    ) -> tuple[list[Any], list[Any]]:
        """The run as it stands; gives ([panel, *details], memory).

        Args:
            run: the run.
            position: its place in the queue; see `Jobs.queue_position`.
            is_mine: whether the visitor owns it.
            seen: the first of what the page remembers of the last look.
        """

    def look(self, run_id: str, stored: object, seen: object = None) -> list[Any]:
        """The run as it stands. Sets `Controls.outputs`."""
        try:
            run = find_run(self.store, self.what.kind, run_id or None, None)
            if run is None:
                keep = [gr.skip()] * (1 + self.details + 3)
                return [gr.Column(visible=False), *keep, gr.Timer(active=False), *self.forgotten]
            is_mine = read_visitor(stored) == run.owner
            shown, memory = self.show(run, self.jobs.queue_position(run.id), is_mine, seen)
        except PrismError as error:
            keep = [gr.skip()] * (self.details + 4 + len(self.forgotten))
            return [gr.Column(visible=True), notice("error", str(error)), *keep]
        return [
            gr.Column(visible=True),
            *shown,
            gr.Button(visible=is_mine and not run.is_ended, interactive=run.status != "cancelling"),
            gr.Button(visible=is_mine and run.status in ("cancelled", "failed")),
            gr.Button(visible=is_mine and run.is_ended),
            gr.Timer(active=not run.is_ended),
            *memory,
        ]

    def arrive(self, run_id: str, stored: object, request: gr.Request) -> list[Any]:
        """The run that a link or the visitor asks for; gives (run id, runs, set-up)."""
        asked = str(dict(request.query_params).get(self.what.key, "")) or None
        owner = read_visitor(stored)
        run = find_run(self.store, self.what.kind, asked, owner)
        if run is None and asked:
            run = find_run(self.store, self.what.kind, None, owner)
        found = run_id or (run.id if run is not None else "")
        fold = gr.Accordion(open=False) if found and not run_id else gr.skip()
        return [found, self.choices(stored, found), fold]

    def choices(self, stored: object, run_id: str) -> Any:
        """The visitor's runs, newest first."""
        owner = read_visitor(stored)
        runs = self.store.list_runs(owner, self.what.kind, limit=50) if owner else []
        names = [(_label(run), run.id) for run in runs]
        known = any(run_id == value for _, value in names)
        return gr.Dropdown(names, value=run_id if known else None, visible=len(names) > 1)

    def cancel(self, run_id: str, stored: object) -> str:
        """Stop the run; gives the status line."""
        return self._change(self.jobs.cancel, run_id, stored)

    def resume(self, run_id: str, stored: object) -> str:
        """Let the run go on; gives the status line."""
        return self._change(self.jobs.resume, run_id, stored)

    def delete(self, run_id: str, stored: object) -> list[Any]:
        """Delete the run; gives (status, confirmation, run id, runs)."""
        refused = self._change(self.store.delete_run, run_id, stored)
        if refused:
            return [refused, gr.Row(visible=False), run_id, gr.skip()]
        run = find_run(self.store, self.what.kind, None, read_visitor(stored))
        found = run.id if run is not None else ""
        line = notice("done", f"The {self.what.noun} is deleted.")
        return [line, gr.Row(visible=False), found, self.choices(stored, found)]

    @staticmethod
    def _change(act: Callable[[str, str], object], run_id: str, stored: object) -> str:
        try:
            act(run_id, need_visitor(stored))
        except PrismError as error:
            return notice("error", str(error))
        return ""


def wire_controls(
    shared: Shared,
    tab: gr.Tab,
    watch: Controls,
    watcher: RunWatcher,
    fold: gr.Accordion,
    started: Any,
) -> None:
    """Connect the controls.

    Args:
        shared: the page.
        tab: where they are; a run is looked for when it is opened.
        watch: the components.
        watcher: their listeners.
        fold: the set-up, folded when there is a run to see.
        started: the event after which `run_id` names a run that was just started.
    """
    visitor = shared.visitor_state
    mine = [watch.run_id, visitor]
    looking = [*mine, *watch.memory[:1]]
    tab.select(watcher.arrive, mine, [watch.run_id, watch.runs, fold], **QUIET)
    gr.on([watch.run_id.change, watch.timer.tick], watcher.look, looking, watch.outputs, **QUIET)
    started.then(watcher.choices, [visitor, watch.run_id], watch.runs, **QUIET)
    chosen = watch.runs.input(lambda run: run or "", watch.runs, watch.run_id, **QUIET)
    # The address names the run on the screen, so a reload finds it. A refused start leaves it.
    js = f"(id) => window.prism.showRun('{watcher.what.key}', id)"
    for event in (started, chosen):
        event.then(None, watch.run_id, None, js=js, api_visibility="private")
    for button, listener in ((watch.cancel, watcher.cancel), (watch.resume, watcher.resume)):
        button.click(listener, mine, watch.status, **QUIET).then(
            watcher.look, looking, watch.outputs, **QUIET
        )
    watch.delete.click(lambda: gr.Row(visible=True), None, watch.confirm, **QUIET)
    watch.confirm_keep.click(lambda: gr.Row(visible=False), None, watch.confirm, **QUIET)
    watch.confirm_delete.click(
        watcher.delete, mine, [watch.status, watch.confirm, watch.run_id, watch.runs], **QUIET
    )


def _label(run: RunRow) -> str:
    when = datetime.fromtimestamp(run.created, UTC).strftime("%d %b %H:%M")
    return f"{run.title} · {run.status} · {when} UTC"
