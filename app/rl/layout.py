"""The RL tab: choose arm, tasks and budget, start, watch it learn, try what came out."""

from __future__ import annotations

import gradio as gr

from app.common.shared import QUIET, Shared
from app.rl.composer import build_rl_form
from app.rl.handlers import KEPT, RlStarter
from app.rl.watch import RlWatcher, build_rl_watch


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    form = build_rl_form(shared.settings)
    watch = build_rl_watch()
    starter = RlStarter(shared, form, watch.run_id)
    watcher = RlWatcher(shared.store, shared.jobs, watch, form.fold)
    _wire_form(starter, tab)
    cleared = form.start.click(lambda: "", None, form.status, **QUIET)
    watcher.wire(shared, tab, starter.wire_start(cleared.then))
    watch.try_it.click(shared.offer, watch.run_id, [shared.tried, shared.tabs], **QUIET)


def _wire_form(starter: RlStarter, tab: gr.Tab) -> None:
    form, preset = starter.form, starter.form.by_name["preset"]
    filled = [c for name, c in form.by_name.items() if name not in KEPT]
    chosen = preset.input(starter.preset, preset, filled, **QUIET)
    edits = [c.input for c in form.fields if c is not preset]
    gr.on(edits, starter.plan, form.fields, form.plan, trigger_mode="always_last", **QUIET)
    chosen.then(starter.plan, form.fields, form.plan, **QUIET)
    tab.select(starter.plan, form.fields, form.plan, **QUIET)
