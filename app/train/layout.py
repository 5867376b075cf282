"""The Train tab: choose, see what will happen, start, watch, look at what was found, keep it."""

from __future__ import annotations

import gradio as gr

from app.common.shared import QUIET, Shared
from app.train.composer import build_form
from app.train.handlers import TrainStarter
from app.train.results_panel import build_results, wire_results
from app.train.shelf_panel import build_shelf, wire_shelf
from app.train.watch import TrainWatcher, build_watch
from prism_core.personas.library import load_personas


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    library = load_personas()
    form = build_form(shared.settings, library)
    watch = build_watch()
    results = build_results()
    shelf = build_shelf(shared.settings.has_login)
    starter = TrainStarter(shared, form, watch.run_id, library)
    watcher = TrainWatcher(shared.store, shared.jobs, watch, form.fold, library)
    _wire_form(starter, tab)
    watcher.wire(shared, tab, starter.wire_start(form.start.click))
    wire_results(shared, watch, results, library)
    wire_shelf(shelf, shared, tab, watch.mark)
    starter.wire_measuring(tab)


def _wire_form(starter: TrainStarter, tab: gr.Tab) -> None:
    form, own = starter.form, starter.shared.personas_state
    preset, model, judge, personas = (
        form.by_name[name] for name in ("preset", "model", "judge", "personas")
    )
    filled = [form.note, form.people, *form.fields]
    chosen = preset.input(starter.preset, [preset, model], filled, **QUIET)
    others = [c for c in form.fields if c is not preset and c is not personas]
    # Emptying the list is no `input`, and neither is what is pasted into a text or rubbed out.
    edits = [c.change if isinstance(c, gr.Textbox) else c.input for c in others]
    starter.wire_plan([*edits, personas.change], tab)
    chosen.then(starter.plan, starter.inputs, [form.plan, form.measure], **QUIET)
    judge.change(starter.show_remote, judge, form.by_name["remote_model"], **QUIET)
    tab.select(starter.offer, [own, personas], personas, **QUIET)
