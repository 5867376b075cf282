"""The Personas tab: read all personas, write one's own, import and export YAML.

A visitor's own personas live in that visitor's browser. Exports are made in the page and an
uploaded file is deleted once it was read, so nothing of them stays on the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.shared import QUIET, Shared, fragment
from app.personas.editor import Editor, build_editor
from app.personas.handlers import Listeners, choices
from app.personas.token_counter import TokenCounter
from prism_core.personas.library import load_personas
from prism_core.types import Persona

LOCAL = "Your own personas are kept in this browser alone. Export them to keep them for good."


@dataclass(frozen=True)
class Panel:
    """The tab's components around the editor."""

    picker: gr.Dropdown
    sheet: gr.HTML
    copy: gr.Button
    edit: gr.Button
    new: gr.Button
    upload: gr.UploadButton
    export: gr.Button
    export_all: gr.Button
    delete: gr.Button
    confirm: gr.Row
    confirm_text: gr.HTML
    confirm_delete: gr.Button
    confirm_keep: gr.Button
    status: gr.HTML
    payload: gr.Textbox
    filename: gr.Textbox
    editing: gr.State

    @property
    def shown(self) -> list[Any]:
        """What `Listeners.show` sets."""
        return [self.picker, self.sheet, self.edit, self.delete, self.export_all, self.confirm]


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    library = load_personas()
    panel = _build_panel(library)
    editor = build_editor()
    counter = TokenCounter(shared.pool, shared.settings.default_model)
    listeners = Listeners(library, counter)
    _wire_reading(shared, tab, panel, listeners)
    _wire_editor(shared, panel, editor, listeners)
    _wire_files(shared, panel, listeners)


def _build_panel(library: Mapping[str, Persona]) -> Panel:
    parts: dict[str, Any] = {}
    first = next(iter(library), None)
    with gr.Column(elem_id="px-personas", elem_classes="px-card"):
        fragment(
            '<p class="px-help">A persona is a text that tells the model who to be, in three '
            f"lengths. {LOCAL}</p>"
        )
        parts["picker"] = gr.Dropdown(
            choices(library, {}), value=first, label="Persona", elem_id="px-pick"
        )
        parts["sheet"] = fragment(elem_id="px-sheet")
        with gr.Row(elem_classes="px-tools"):
            parts["copy"] = gr.Button("Edit a copy", size="sm", elem_id="px-copy")
            parts["edit"] = gr.Button("Edit", size="sm", visible=False, elem_id="px-edit")
            parts["new"] = gr.Button("New persona", size="sm", elem_id="px-new")
            parts["upload"] = gr.UploadButton(
                "Import YAML",
                size="sm",
                file_types=[".yaml", ".yml"],
                file_count="multiple",
                elem_id="px-import",
            )
            parts["export"] = gr.Button("Export YAML", size="sm", elem_id="px-export-persona")
            parts["export_all"] = gr.Button(
                "Export all of mine", size="sm", visible=False, elem_id="px-export-own"
            )
            parts["delete"] = gr.Button(
                "Delete", size="sm", variant="stop", visible=False, elem_id="px-delete"
            )
        with gr.Row(visible=False, elem_classes="px-tools", elem_id="px-confirm") as confirm:
            parts["confirm_text"] = fragment()
            parts["confirm_delete"] = gr.Button(
                "Delete it", size="sm", variant="stop", elem_id="px-confirm-delete"
            )
            parts["confirm_keep"] = gr.Button("Keep it", size="sm", elem_id="px-confirm-keep")
        parts["status"] = fragment(elem_id="px-personas-status")
        parts["payload"] = gr.Textbox(visible="hidden", show_label=False)
        parts["filename"] = gr.Textbox(visible="hidden", show_label=False)
    return Panel(confirm=confirm, editing=gr.State(""), **parts)


def _wire_reading(shared: Shared, tab: gr.Tab, panel: Panel, listeners: Listeners) -> None:
    own, picker = shared.personas_state, panel.picker
    gr.on([tab.select, picker.input], listeners.show, [own, picker], panel.shown, **QUIET)


def _wire_editor(shared: Shared, panel: Panel, editor: Editor, listeners: Listeners) -> None:
    own, picker = shared.personas_state, panel.picker
    opened = [editor.box, editor.heading, editor.status, panel.editing, *editor.fields]
    for button, how in ((panel.new, "new"), (panel.copy, "copy"), (panel.edit, "edit")):
        button.click(listeners.open_editor, [own, picker, gr.State(how)], opened, **QUIET).then(
            None,
            None,
            None,
            js="() => document.querySelector('#px-editor')?.scrollIntoView({block: 'nearest'})",
            api_visibility="private",
        )
    gr.on(
        [text.change for text in editor.texts],
        listeners.count,
        editor.texts,
        editor.counts,
        trigger_mode="always_last",
        **QUIET,
    )
    editor.save.click(
        listeners.save,
        [own, panel.editing, *editor.fields],
        [own, editor.box, editor.status, picker, panel.status],
        **QUIET,
    ).then(listeners.show, [own, picker], panel.shown, **QUIET)
    editor.cancel.click(lambda: gr.Column(visible=False), None, editor.box, **QUIET)
    panel.delete.click(
        listeners.ask_delete, [own, picker], [panel.confirm, panel.confirm_text], **QUIET
    )
    panel.confirm_keep.click(lambda: gr.Row(visible=False), None, panel.confirm, **QUIET)
    panel.confirm_delete.click(
        listeners.delete, [own, picker], [own, panel.status, editor.box], **QUIET
    ).then(listeners.show, [own, picker], panel.shown, **QUIET)


def _wire_files(shared: Shared, panel: Panel, listeners: Listeners) -> None:
    own, picker = shared.personas_state, panel.picker
    panel.upload.upload(
        listeners.import_files, [own, panel.upload], [own, picker, panel.status], **QUIET
    ).then(listeners.show, [own, picker], panel.shown, **QUIET)
    outputs = [panel.payload, panel.filename, panel.status]
    for event in (
        panel.export.click(listeners.export_one, [own, picker], outputs, **QUIET),
        panel.export_all.click(listeners.export_own, own, outputs, **QUIET),
    ):
        event.then(
            None,
            [panel.payload, panel.filename],
            None,
            js="(text, name) => { if (text) window.prism.save(name, 'application/yaml', text); }",
            api_visibility="private",
        )
