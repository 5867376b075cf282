"""The Personas tab: read all personas, write one's own, import and export YAML.

A visitor's own personas live in that visitor's browser. Exports are made in the page and an
uploaded file is deleted once it was read, so nothing of them stays on the server.
"""

from __future__ import annotations

from functools import partial

import gradio as gr

from app.common.shared import QUIET, Shared, then_script
from app.personas.handlers import PersonaHandlers, TokenCounter
from app.personas.panel import build_editor, build_panel
from prism_core.personas.library import load_personas
from prism_core.types import LENGTHS


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    library = load_personas()
    counter = TokenCounter(shared.pool, shared.settings.default_model)
    handlers = PersonaHandlers(
        shared.personas_state, build_panel(library), build_editor(), library, counter
    )
    panel, shown = handlers.panel, [shared.personas_state, handlers.panel.picker]
    gr.on([tab.select, panel.picker.input], handlers.show, shown, panel.shown, **QUIET)
    _wire_editor(handlers)
    _wire_delete(handlers)
    _wire_files(handlers)


def _wire_editor(handlers: PersonaHandlers) -> None:
    own, panel, editor = handlers.own, handlers.panel, handlers.editor
    opened = [editor.box, editor.heading, editor.status, editor.editing, *editor.fields]
    for button, how in ((panel.new, "new"), (panel.copy, "copy"), (panel.edit, "edit")):
        listener = partial(handlers.open_editor, how)
        event = button.click(listener, [own, panel.picker], opened, **QUIET)
        script = "() => document.querySelector('#px-editor')?.scrollIntoView({block: 'nearest'})"
        then_script(event, script)
    texts = [editor.inputs[length] for length in LENGTHS]
    gr.on(
        [text.change for text in texts],
        handlers.count,
        texts,
        editor.counts,
        trigger_mode="always_last",
        **QUIET,
    )
    editor.save.click(
        handlers.save,
        [own, editor.editing, *editor.fields],
        [own, editor.box, editor.status, panel.picker, panel.status],
        **QUIET,
    ).then(handlers.show, [own, panel.picker], panel.shown, **QUIET)
    editor.cancel.click(lambda: gr.Column(visible=False), None, editor.box, **QUIET)


def _wire_delete(handlers: PersonaHandlers) -> None:
    own, panel = handlers.own, handlers.panel
    picked = [own, panel.picker]
    panel.delete.click(handlers.ask_delete, picked, [panel.confirm, panel.confirm_text], **QUIET)
    panel.confirm_keep.click(lambda: gr.Row(visible=False), None, panel.confirm, **QUIET)
    panel.confirm_delete.click(
        handlers.delete, picked, [own, panel.status, handlers.editor.box], **QUIET
    ).then(handlers.show, picked, panel.shown, **QUIET)


def _wire_files(handlers: PersonaHandlers) -> None:
    own, panel = handlers.own, handlers.panel
    panel.upload.upload(
        handlers.import_files, [own, panel.upload], [own, panel.picker, panel.status], **QUIET
    ).then(handlers.show, [own, panel.picker], panel.shown, **QUIET)
    file = [panel.payload, panel.filename]
    script = "(text, name) => { if (text) window.prism.save(name, 'application/yaml', text); }"
    for event in (
        panel.export.click(
            handlers.export_one, [own, panel.picker], [*file, panel.status], **QUIET
        ),
        panel.export_all.click(handlers.export_own, own, [*file, panel.status], **QUIET),
    ):
        then_script(event, script, file)
