"""The components of the Personas tab: the persona that is read, and the editor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block

from app.common.shared import Updates, fragment
from app.personas.form import FIELDS, NAME_CHARACTERS
from app.personas.views import AIMS, KINDS, LENGTH_NAMES, choices
from prism_core.personas.library import MAX_TEXT_CHARACTERS, MAX_WORD_CHARACTERS
from prism_core.types import LENGTHS, Persona

LOCAL = "Your own personas are kept in this browser alone. Export them to keep them for good."
_LINES = {"min": 1, "short": 5, "long": 9}


@dataclass(frozen=True)
class Panel:
    """The panel's components."""

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
    """Hidden: the text that the page saves as a file, under `filename`."""
    filename: gr.Textbox

    @property
    def shown(self) -> list[Block]:
        """What `PersonaHandlers.show` sets."""
        return [self.picker, self.sheet, self.edit, self.delete, self.export_all, self.confirm]


def build_panel(library: Mapping[str, Persona]) -> Panel:
    """Lay the panel out."""
    parts: dict[str, Any] = {}

    def button(name: str, label: str, elem_id: str, **more: Any) -> None:
        parts[name] = gr.Button(label, size="sm", elem_id=elem_id, **more)

    with gr.Column(elem_id="px-personas", elem_classes="px-card"):
        fragment(
            '<p class="px-help">A persona is a text that tells the model who to be, in three '
            f"lengths. {LOCAL}</p>"
        )
        parts["picker"] = gr.Dropdown(
            choices(library, {}),
            value=next(iter(library), None),
            label="Persona",
            elem_id="px-pick",
        )
        parts["sheet"] = fragment(elem_id="px-sheet")
        with gr.Row(elem_classes="px-tools"):
            button("copy", "Edit a copy", "px-copy")
            button("edit", "Edit", "px-edit", visible=False)
            button("new", "New persona", "px-new")
            parts["upload"] = gr.UploadButton(
                "Import YAML",
                size="sm",
                file_types=[".yaml", ".yml"],
                file_count="multiple",
                elem_id="px-import",
            )
            button("export", "Export YAML", "px-export-persona")
            button("export_all", "Export all of mine", "px-export-own", visible=False)
            button("delete", "Delete", "px-delete", variant="stop", visible=False)
        with gr.Row(visible=False, elem_classes="px-tools", elem_id="px-confirm") as confirm:
            parts["confirm_text"] = fragment()
            button("confirm_delete", "Delete it", "px-confirm-delete", variant="stop")
            button("confirm_keep", "Keep it", "px-confirm-keep")
        parts["status"] = fragment(elem_id="px-personas-status")
        parts["payload"] = gr.Textbox(visible="hidden", show_label=False)
        parts["filename"] = gr.Textbox(visible="hidden", show_label=False)
    return Panel(confirm=confirm, **parts)


@dataclass(frozen=True)
class Editor:
    """The editor's components."""

    box: gr.Column
    heading: gr.HTML
    inputs: Mapping[str, gr.Textbox | gr.Radio]
    """The components of `FIELDS`, by name."""
    counts: gr.HTML
    status: gr.HTML
    save: gr.Button
    cancel: gr.Button
    editing: gr.State
    """The name of the own persona at hand; empty for one that is not kept yet."""

    @property
    def fields(self) -> list[gr.Textbox | gr.Radio]:
        """The components of `FIELDS`, in their order."""
        return [self.inputs[name] for name in FIELDS]

    def show(self, values: Mapping[str, Any]) -> Updates:
        """Return the updates that put values, by field name, into the editor."""
        return {self.inputs[name]: value for name, value in values.items()}


def build_editor() -> Editor:
    """Lay the editor out; it is hidden until it is asked for."""
    inputs: dict[str, gr.Textbox | gr.Radio] = {}
    with gr.Column(visible=False, elem_id="px-editor", elem_classes="px-card") as box:
        heading = fragment()
        with gr.Row(elem_classes="px-row"):
            inputs["title"] = gr.Textbox(
                label="Title",
                placeholder="Marine biologist",
                max_length=MAX_WORD_CHARACTERS,
                elem_id="px-edit-title",
            )
            inputs["name"] = gr.Textbox(
                label="Name",
                info="Lower-case letters, digits and _. Left empty, it is made from the title.",
                max_length=NAME_CHARACTERS,
                elem_id="px-edit-name",
            )
        with gr.Row(elem_classes="px-row"):
            kinds = [(title, kind) for kind, title in KINDS.items()]
            inputs["kind"] = gr.Radio(kinds, value="expert", label="Kind", elem_id="px-edit-kind")
            inputs["domain"] = gr.Textbox(
                label="Domain",
                placeholder="the sea and what lives in it",
                max_length=MAX_WORD_CHARACTERS,
                elem_id="px-edit-domain",
            )
        for length in LENGTHS:
            inputs[length] = gr.Textbox(
                label=f"{LENGTH_NAMES[length]} text, about {AIMS[length]} tokens",
                lines=_LINES[length],
                max_lines=16,
                max_length=MAX_TEXT_CHARACTERS,
                elem_id=f"px-edit-{length}",
            )
        counts = fragment(elem_id="px-edit-counts")
        with gr.Accordion("Topics within the domain", open=False):
            inputs["subtopics"] = gr.Textbox(
                label="One a line",
                info="Used to spread the questions that a model writes when it is trained.",
                lines=4,
                max_lines=12,
                elem_id="px-edit-topics",
            )
        status = fragment(elem_id="px-edit-status")
        with gr.Row(elem_classes="px-tools"):
            save = gr.Button("Save", variant="primary", elem_id="px-edit-save")
            cancel = gr.Button("Cancel", elem_id="px-edit-cancel")
    return Editor(box, heading, inputs, counts, status, save, cancel, gr.State(""))
