"""What happens when something is pressed on the Personas tab.

Every method takes what the browser keeps and gives updates for the components that its docstring
names, in that order. What a visitor did wrong ends in one sentence and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.common.text import notice
from app.personas.editor import blank_values, persona_of, values_of
from app.personas.own import free_name, import_yaml, keep, read_own, read_uploads, write_own
from app.personas.token_counter import TokenCounter
from app.personas.views import KINDS, counts_line, sheet
from prism_core.errors import PrismError
from prism_core.personas.library import dump_personas
from prism_core.types import LENGTHS, Persona


def choices(library: Mapping[str, Persona], own: Mapping[str, Persona]) -> list[tuple[str, str]]:
    """All personas for the picker: shipped ones by kind, then the visitor's own."""
    shipped = [(f"{p.title} · {KINDS[p.kind]}", p.name) for p in library.values()]
    return shipped + [(f"{p.title} · {KINDS[p.kind]} (yours)", p.name) for p in own.values()]


@dataclass(frozen=True)
class Listeners:
    """What happens when something is pressed; `stored` is what the browser keeps."""

    library: Mapping[str, Persona]
    counter: TokenCounter

    def show(self, stored: object, picked: str | None) -> list[Any]:
        """Draw the picker and the picked persona; gives `Panel.shown`."""
        own = read_own(stored, self.library)
        everything = {**self.library, **own}
        name = picked if picked in everything else next(iter(everything), None)
        persona = everything.get(name or "")
        return [
            gr.Dropdown(choices(self.library, own), value=name),
            sheet(persona, name in own, self.counter.count),
            gr.Button(visible=name in own),
            gr.Button(visible=name in own),
            gr.Button(visible=bool(own)),
            gr.Row(visible=False),
        ]

    def open_editor(self, stored: object, picked: str | None, how: str) -> list[Any]:
        """Open the editor on a new persona, a copy or an own one.

        Gives (box, heading, editor status, editing, *fields).
        """
        own = read_own(stored, self.library)
        everything = {**self.library, **own}
        persona = everything.get(picked or "")
        editing, heading, values = "", "A new persona", blank_values()
        if how == "edit" and persona is not None and persona.name in own:
            editing, heading, values = persona.name, "Edit your persona", values_of(persona)
        elif how == "copy" and persona is not None:
            values = values_of(persona)
            values[0] = f"{persona.title} (copy)"
            values[1] = free_name(persona.name, everything)
            heading = "Edit a copy"
        return [gr.Column(visible=True), f"<h2>{heading}</h2>", "", editing, *values]

    def save(self, stored: object, editing: str, *values: Any) -> list[Any]:
        """Keep what the editor holds; gives (stored, editor box, editor status, picker, status)."""
        own = read_own(stored, self.library)
        try:
            persona = persona_of(*values)
            own = keep(own, persona, self.library, editing)
        except PrismError as error:
            return [gr.skip(), gr.skip(), notice("error", str(error)), gr.skip(), gr.skip()]
        done = notice("done", f"'{persona.title}' is saved in this browser.")
        picker = gr.Dropdown(choices(self.library, own), value=persona.name)
        return [write_own(own), gr.Column(visible=False), "", picker, done]

    def ask_delete(self, stored: object, picked: str | None) -> list[Any]:
        """Ask before a persona is deleted; gives (confirm row, its text)."""
        persona = read_own(stored, self.library).get(picked or "")
        if persona is None:
            return [gr.Row(visible=False), ""]
        return [
            gr.Row(visible=True),
            notice("warn", f"Delete '{persona.title}' from this browser? This cannot be undone."),
        ]

    def delete(self, stored: object, picked: str | None) -> list[Any]:
        """Delete an own persona; gives (stored, status, editor box)."""
        own = read_own(stored, self.library)
        gone = own.pop(picked or "", None)
        if gone is None:
            return [gr.skip(), notice("error", "Only your own personas can be deleted."), gr.skip()]
        # An open editor might hold the persona that is gone.
        done = notice("done", f"'{gone.title}' is deleted.")
        return [write_own(own), done, gr.Column(visible=False)]

    def import_files(self, stored: object, paths: list[str] | None) -> list[Any]:
        """Take in uploaded files; gives (stored, picker, status)."""
        own = read_own(stored, self.library)
        try:
            texts = read_uploads([Path(path) for path in paths or []])
            result = import_yaml(own, texts, self.library)
        except PrismError as error:
            line = f"Nothing was imported. {error}"
            return [gr.skip(), gr.skip(), notice("error", line)]
        parts = [f"Added: {', '.join(result.added)}."] if result.added else []
        parts += [f"Replaced: {', '.join(result.replaced)}."] if result.replaced else []
        parts += [
            f"'{old}' comes with PRISM Studio, so yours is named '{new}'."
            for old, new in result.renamed
        ]
        names = [*result.added, *(new for _, new in result.renamed), *result.replaced]
        now = read_own(result.stored, self.library)
        picker = gr.Dropdown(choices(self.library, now), value=names[0]) if names else gr.skip()
        return [result.stored, picker, notice("done", "Imported.", parts)]

    def export_one(self, stored: object, picked: str | None) -> list[Any]:
        """The picked persona as YAML; gives (payload, file name, status)."""
        persona = {**self.library, **read_own(stored, self.library)}.get(picked or "")
        if persona is None:
            return ["", "", notice("info", "Choose a persona first.")]
        name = f"{persona.name}.yaml"
        return [dump_personas([persona]), name, notice("done", f"{name} is saved.")]

    def export_own(self, stored: object) -> list[Any]:
        """All own personas in one file; gives (payload, file name, status)."""
        own = read_own(stored, self.library)
        if not own:
            return ["", "", notice("info", "You have no personas of your own yet.")]
        name = "my-personas.yaml"
        return [dump_personas(own.values()), name, notice("done", f"{name} is saved.")]

    def count(self, *texts: str) -> str:
        """Tokens of the texts in the editor."""
        given = {length: text or "" for length, text in zip(LENGTHS, texts, strict=True)}
        return counts_line(given, self.counter.count)
