"""The Study tab: choose, see what it costs and what it can show, start, watch, go and explore."""

from __future__ import annotations

import gradio as gr

from app.common.shared import QUIET, Shared
from app.study.composer import build_study_form
from app.study.handlers import StudyStarter, adapter_choices
from app.study.watch import StudyWatcher, build_study_watch
from prism_core.personas.library import load_personas


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    library = load_personas()
    form = build_study_form(shared.settings, library, adapter_choices(shared, None))
    watch = build_study_watch()
    starter = StudyStarter(shared, form, watch.run_id, library)
    watcher = StudyWatcher(shared.store, shared.jobs, watch, form.fold)
    _wire_form(starter, tab)
    watcher.wire(shared, tab, starter.wire_start(form.start.click))
    watch.explore.click(shared.explore, watch.run_id, [shared.explored, shared.tabs], **QUIET)
    starter.wire_measuring(tab)


def _wire_form(starter: StudyStarter, tab: gr.Tab) -> None:
    form, shared = starter.form, starter.shared
    judge, judgements, personas, adapters = (
        form.by_name[name] for name in ("judge", "judgements", "personas", "adapters")
    )
    starter.wire_plan([field.change for field in form.fields], tab)
    form.mode.input(starter.switch, form.mode, [form.form_box, form.yaml_box], **QUIET)
    written = [form.yaml, form.status]
    form.yaml_fill.click(starter.write_yaml, starter.inputs, written, **QUIET)
    form.yaml_file.upload(starter.read_yaml, form.yaml_file, written, **QUIET)
    judge.change(starter.show_judgements, judge, judgements, **QUIET)
    who = [shared.personas_state, shared.visitor_state]
    tab.select(starter.offer, [*who, personas, adapters], [personas, adapters], **QUIET)
