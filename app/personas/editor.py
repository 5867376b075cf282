"""The editor of the Personas tab: the fields of one persona, and what they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.common.shared import fragment
from app.personas.own import name_from
from app.personas.views import AIMS, KINDS, LENGTH_NAMES
from prism_core.errors import InputError
from prism_core.personas.library import MAX_TEXT_CHARACTERS, MAX_WORD_CHARACTERS, make_persona
from prism_core.types import LENGTHS, Persona

KIND_CHOICES = [(title, kind) for kind, title in KINDS.items()]
_LINES = {"min": 1, "short": 5, "long": 9}


@dataclass(frozen=True)
class Editor:
    """The editor's components."""

    box: gr.Column
    heading: gr.HTML
    title: gr.Textbox
    name: gr.Textbox
    kind: gr.Radio
    domain: gr.Textbox
    texts: list[gr.Textbox]
    counts: gr.HTML
    subtopics: gr.Textbox
    status: gr.HTML
    save: gr.Button
    cancel: gr.Button

    @property
    def fields(self) -> list[Component]:
        """The inputs that make up a persona, in the order that `persona_of` takes."""
        return [self.title, self.name, self.kind, self.domain, *self.texts, self.subtopics]


def build_editor() -> Editor:
    """Lay the editor out; it is hidden until it is asked for."""
    with gr.Column(visible=False, elem_id="px-editor", elem_classes="px-card") as box:
        heading = fragment()
        with gr.Row(elem_classes="px-row"):
            title = gr.Textbox(
                label="Title",
                placeholder="Marine biologist",
                max_length=MAX_WORD_CHARACTERS,
                elem_id="px-edit-title",
            )
            name = gr.Textbox(
                label="Name",
                info="Lower-case letters, digits and _. Left empty, it is made from the title.",
                max_length=40,
                elem_id="px-edit-name",
            )
        with gr.Row(elem_classes="px-row"):
            kind = gr.Radio(KIND_CHOICES, value="expert", label="Kind", elem_id="px-edit-kind")
            domain = gr.Textbox(
                label="Domain",
                placeholder="the sea and what lives in it",
                max_length=MAX_WORD_CHARACTERS,
                elem_id="px-edit-domain",
            )
        texts = [
            gr.Textbox(
                label=f"{LENGTH_NAMES[length]} text, about {AIMS[length]} tokens",
                lines=_LINES[length],
                max_lines=16,
                max_length=MAX_TEXT_CHARACTERS,
                elem_id=f"px-edit-{length}",
            )
            for length in LENGTHS
        ]
        counts = fragment(elem_id="px-edit-counts")
        with gr.Accordion("Topics within the domain", open=False):
            subtopics = gr.Textbox(
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
    return Editor(
        box, heading, title, name, kind, domain, texts, counts, subtopics, status, save, cancel
    )


def values_of(persona: Persona) -> list[Any]:
    """The values for `Editor.fields` that show a persona."""
    texts = [persona.texts.get(length, "") for length in LENGTHS]
    topics = "\n".join(persona.subtopics)
    return [persona.title, persona.name, persona.kind, persona.domain, *texts, topics]


def blank_values() -> list[Any]:
    """The values for `Editor.fields` of a persona to be written."""
    return ["", "", "expert", "", *[""] * len(LENGTHS), ""]


def persona_of(*values: Any) -> Persona:
    """The persona in the values of `Editor.fields`.

    Raises:
        InputError: a field is missing or not allowed; the message names it.
    """
    title, name, kind, domain, *texts, topics = [v or "" for v in values]
    if not title.strip():
        raise InputError("The title is empty; give the persona a title.")
    chosen = name.strip() or name_from(title)
    if not chosen:
        raise InputError(
            f"No name can be made from the title '{title.strip()[:60]}'; type one, for example "
            "'my_expert'."
        )
    return make_persona(
        {
            "name": chosen,
            "title": title,
            "kind": kind,
            "domain": domain.strip() or "general questions",
            "texts": dict(zip(LENGTHS, texts, strict=True)),
            "subtopics": [line for line in topics.splitlines() if line.strip()],
        }
    )
