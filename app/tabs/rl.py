"""The RL tab: choose arm, tasks and budget, start, watch it learn, try what came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.rl_form import RL_FIELDS, rl_plan, rl_preset, rl_spec_of, rl_within
from app.shared import Shared
from app.tabs.rl_compose import RlForm, build_rl_form
from app.tabs.rl_watch import RlWatch, RlWatcher, build_rl_watch
from app.train_form import limits_of
from app.views.text import notice
from app.visitor import need_visitor
from prism_core.errors import InputError, PrismError
from prism_core.rl_spec import RlSpec
from prism_core.sources import resolve
from prism_core.storage import pack

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
SHOW = """(id) => { if (!id) return; const url = new URL(location.href);
url.search = "?rl=" + encodeURIComponent(id); history.replaceState(null, "", url); }"""
"""Puts the run into the address, so that a reload finds it again."""


def build(shared: Shared) -> None:
    """Lay the tab out and connect it."""
    form = build_rl_form(shared.settings)
    watch = build_rl_watch()
    starter, watcher = RlStarter(shared), RlWatcher(shared)
    _wire_form(shared, form, watch, starter, watcher)
    _wire_watch(shared, form, watch, watcher)


@dataclass(frozen=True)
class RlStarter:
    """The listeners that fill in, check and start."""

    shared: Shared

    def spec(self, values: tuple[Any, ...]) -> RlSpec:
        """The run that the form describes.

        Raises:
            InputError, NotFoundError: a value is not allowed.
        """
        return rl_spec_of(dict(zip(RL_FIELDS, values, strict=True)), self.shared.settings)

    def plan(self, *values: Any) -> str:
        """What the run will do."""
        try:
            return notice("info", rl_plan(self.spec(values)))
        except PrismError as error:
            return notice("warn", str(error))

    def preset(self, preset: str, arm: str, model: str, name: str) -> list[Any]:
        """Fill the form in; arm, model and name stay."""
        try:
            spec = rl_within(rl_preset(preset), self.shared.settings)
        except PrismError:
            return [gr.skip()] * len(RL_FIELDS)
        kept = {"arm": arm, "model": model, "name": name}
        return [kept.get(field, getattr(spec, field)) for field in RL_FIELDS]

    def start(self, visitor: object, *values: Any) -> tuple[str, Any, Any]:
        """Put the run in the queue; gives (status, run id, set-up)."""
        try:
            owner = need_visitor(visitor)
            spec = self.spec(values)
            resolve(spec.model)
            self._check_unfinished(owner)
            run_id = self.shared.jobs.submit("rl", spec.name, pack(spec), owner)
        except PrismError as error:
            return notice("error", str(error)), gr.skip(), gr.skip()
        return "", run_id, gr.Accordion(open=False)

    def _check_unfinished(self, owner: str) -> None:
        most = limits_of(self.shared.settings).unfinished
        waiting = ["queued", "running", "cancelling"]
        if len(self.shared.store.list_runs(owner, statuses=waiting)) >= most:
            raise InputError(
                f"You have {most} unfinished runs already. Wait for one to end, or cancel it."
            )


def _wire_form(
    shared: Shared, form: RlForm, watch: RlWatch, starter: RlStarter, watcher: RlWatcher
) -> None:
    preset, arm, model, name = (form.by_name[n] for n in ("preset", "arm", "model", "name"))
    chosen = preset.input(  # type: ignore[attr-defined]
        starter.preset, [preset, arm, model, name], form.fields, **QUIET
    )
    edits = [c.input for c in form.fields if c is not preset]  # type: ignore[attr-defined]
    gr.on(edits, starter.plan, form.fields, form.plan, trigger_mode="always_last", **QUIET)
    chosen.then(starter.plan, form.fields, form.plan, **QUIET)
    shared.page.load(starter.plan, form.fields, form.plan, **QUIET)
    started = form.start.click(
        lambda: "", None, form.status, **QUIET
    ).then(
        starter.start,
        [shared.visitor_state, *form.fields],
        [form.status, watch.run_id, form.fold],
        **QUIET,
    )  # fmt: skip
    started.then(watcher.choices, [shared.visitor_state, watch.run_id], watch.runs, **QUIET)
    started.then(None, watch.run_id, None, js=SHOW, api_visibility="private")


def _wire_watch(shared: Shared, form: RlForm, watch: RlWatch, watcher: RlWatcher) -> None:
    visitor = shared.visitor_state
    looking = [watch.run_id, visitor, watch.seen]
    gr.on(
        [shared.page.load, visitor.change],
        watcher.arrive,
        [watch.run_id, visitor],
        [watch.run_id, watch.runs, shared.tabs, form.fold],
        **QUIET,
    )
    gr.on([watch.run_id.change, watch.timer.tick], watcher.look, looking, watch.outputs, **QUIET)
    watch.runs.input(lambda run: run or "", watch.runs, watch.run_id, **QUIET).then(
        None, watch.run_id, None, js=SHOW, api_visibility="private"
    )
    for button, listener in ((watch.cancel, watcher.cancel), (watch.resume, watcher.resume)):
        button.click(listener, [watch.run_id, visitor], watch.status, **QUIET).then(
            watcher.look, looking, watch.outputs, **QUIET
        )
    watch.delete.click(lambda: gr.Row(visible=True), None, watch.confirm, **QUIET)
    watch.confirm_keep.click(lambda: gr.Row(visible=False), None, watch.confirm, **QUIET)
    watch.confirm_delete.click(
        watcher.delete,
        [watch.run_id, visitor],
        [watch.status, watch.confirm, watch.run_id, watch.runs],
        **QUIET,
    )
    watch.try_it.click(shared.offer, watch.run_id, [shared.tried, shared.tabs], **QUIET)
