"""The RL tab: choose arm, tasks and budget, start, watch it learn, try what came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.form_values import find_preset
from app.common.run_start import RunStarter, check_unfinished
from app.common.run_watch import wire_controls
from app.common.shared import QUIET, Shared
from app.common.text import notice
from app.rl.composer import RlForm, build_rl_form
from app.rl.form import RL_FIELDS, rl_plan, rl_spec_of, rl_within
from app.rl.watch import RlWatch, RlWatcher, build_rl_watch
from prism_core.errors import PrismError
from prism_core.models.sources import resolve
from prism_core.rl.spec import RL_PRESETS, RlSpec


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    form = build_rl_form(shared.settings)
    watch = build_rl_watch()
    starter, watcher = RlStarter(shared), RlWatcher(shared.store, shared.jobs)
    _wire(shared, tab, form, watch, starter, watcher)


@dataclass(frozen=True)
class RlStarter(RunStarter[RlSpec]):
    """The listeners that fill in, check and start."""

    kind = "rl"

    def spec(self, *values: Any) -> RlSpec:
        """See `RunStarter.spec`."""
        return rl_spec_of(dict(zip(RL_FIELDS, values, strict=True)), self.shared.settings)

    def plan(self, *values: Any) -> str:
        """What the run will do."""
        try:
            return notice("info", rl_plan(self.spec(*values)))
        except PrismError as error:
            return notice("warn", str(error))

    def preset(self, preset: str, arm: str, model: str, name: str) -> list[Any]:
        """Fill the form in; arm, model and name stay."""
        try:
            spec = rl_within(find_preset(RL_PRESETS, preset), self.shared.settings)
        except PrismError:
            return [gr.skip()] * len(RL_FIELDS)
        kept = {"arm": arm, "model": model, "name": name}
        return [kept.get(field, getattr(spec, field)) for field in RL_FIELDS]

    def check(self, spec: RlSpec, owner: str) -> None:
        """See `RunStarter.check`."""
        resolve(spec.model)
        check_unfinished(self.shared.store, owner, self.shared.settings.max_unfinished)


def _wire(
    shared: Shared,
    tab: gr.Tab,
    form: RlForm,
    watch: RlWatch,
    starter: RlStarter,
    watcher: RlWatcher,
) -> None:
    preset, arm, model, name = (form.by_name[n] for n in ("preset", "arm", "model", "name"))
    chosen = preset.input(  # type: ignore[attr-defined]
        starter.preset, [preset, arm, model, name], form.fields, **QUIET
    )
    edits = [c.input for c in form.fields if c is not preset]  # type: ignore[attr-defined]
    gr.on(edits, starter.plan, form.fields, form.plan, trigger_mode="always_last", **QUIET)
    chosen.then(starter.plan, form.fields, form.plan, **QUIET)
    tab.select(starter.plan, form.fields, form.plan, **QUIET)
    started = form.start.click(lambda: "", None, form.status, **QUIET).then(
        starter.start,
        [shared.visitor_state, *form.fields],
        [form.status, watch.run_id, form.fold],
        **QUIET,
    )
    wire_controls(shared, tab, watch, watcher, form.fold, started)
    watch.try_it.click(shared.offer, watch.run_id, [shared.tried, shared.tabs], **QUIET)
