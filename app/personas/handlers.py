"""What happens when something is pressed on the Personas tab.

What a visitor did wrong ends in one sentence and changes nothing.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.common.shared import Updates
from app.common.text import notice
from app.personas.form import free_name, persona_of, values_of
from app.personas.own import import_yaml, keep, read_own, read_uploads, write_own
from app.personas.panel import Editor, Panel
from app.personas.views import choices, counts_line, sheet
from app.services.model_pool import ModelPool
from prism_core.errors import PrismError
from prism_core.models.chat import encode_text
from prism_core.personas.library import dump_personas
from prism_core.types import LENGTHS, Persona


class TokenCounter:
    """Counts a text's tokens by the default model's own tokenizer, once that model is there.

    A copy of the tokenizer is used: counting must not disturb, nor wait for, the model at work.
    """

    def __init__(self, pool: ModelPool, reference: str) -> None:
        self._pool = pool
        self._reference = reference
        self._tokenizer: Any = None
        self._lock = threading.Lock()

    def count(self, text: str) -> int | None:
        """Count the tokens; None before the model is loaded, or where it has no tokenizer."""
        with self._lock:
            if self._tokenizer is None and self._pool.is_loaded(self._reference):
                model = self._pool.get(self._reference)
                self._tokenizer = copy.deepcopy(getattr(model, "tokenizer", None))
            if self._tokenizer is None:
                return None
            return len(encode_text(self._tokenizer, text)) if text.strip() else 0


@dataclass(frozen=True)
class PersonaHandlers:
    """The tab's listeners; `stored` is what the browser keeps."""

    own: gr.BrowserState
    panel: Panel
    editor: Editor
    library: Mapping[str, Persona]
    counter: TokenCounter

    def show(self, stored: object, picked: str | None) -> Updates:
        """Draw the picker and the picked persona."""
        panel, own = self.panel, read_own(stored, self.library)
        everything = {**self.library, **own}
        name = picked if picked in everything else next(iter(everything), "")
        is_own = name in own
        return {
            panel.picker: gr.Dropdown(choices(self.library, own), value=name or None),
            panel.sheet: sheet(everything.get(name or ""), is_own, self.counter.count),
            panel.edit: gr.Button(visible=is_own),
            panel.delete: gr.Button(visible=is_own),
            panel.export_all: gr.Button(visible=bool(own)),
            panel.confirm: gr.Row(visible=False),
        }

    def open_editor(self, how: str, stored: object, picked: str | None) -> Updates:
        """Open the editor on a new persona, a copy or one of the visitor's own."""
        own = read_own(stored, self.library)
        everything = {**self.library, **own}
        persona = everything.get(picked or "")
        editing, heading, values = "", "A new persona", values_of(None)
        if how == "edit" and persona is not None and persona.name in own:
            editing, heading, values = persona.name, "Edit your persona", values_of(persona)
        elif how == "copy" and persona is not None:
            heading, values = "Edit a copy", values_of(persona)
            values["title"] = f"{persona.title} (copy)"
            values["name"] = free_name(persona.name, everything)
        editor = self.editor
        return {
            editor.box: gr.Column(visible=True),
            editor.heading: f"<h2>{heading}</h2>",
            editor.status: "",
            editor.editing: editing,
            **editor.show(values),
        }

    def save(self, stored: object, editing: str, *values: Any) -> Updates:
        """Keep what the editor holds, and close it."""
        panel, editor = self.panel, self.editor
        try:
            persona = persona_of(*values)
            own = keep(read_own(stored, self.library), persona, self.library, editing)
        except PrismError as error:
            return {editor.status: notice("error", str(error))}
        return {
            self.own: write_own(own),
            editor.box: gr.Column(visible=False),
            editor.status: "",
            panel.picker: gr.Dropdown(choices(self.library, own), value=persona.name),
            panel.status: notice("done", f"'{persona.title}' is saved in this browser."),
        }

    def ask_delete(self, stored: object, picked: str | None) -> Updates:
        """Ask before a persona is deleted."""
        persona = read_own(stored, self.library).get(picked or "")
        if persona is None:
            return {self.panel.confirm: gr.Row(visible=False)}
        line = f"Delete '{persona.title}' from this browser? This cannot be undone."
        return {
            self.panel.confirm: gr.Row(visible=True),
            self.panel.confirm_text: notice("warn", line),
        }

    def delete(self, stored: object, picked: str | None) -> Updates:
        """Delete one of the visitor's own personas."""
        own = read_own(stored, self.library)
        gone = own.pop(picked or "", None)
        if gone is None:
            return {self.panel.status: notice("error", "Only your own personas can be deleted.")}
        return {
            self.own: write_own(own),
            self.panel.status: notice("done", f"'{gone.title}' is deleted."),
            # It might hold the persona that is gone.
            self.editor.box: gr.Column(visible=False),
        }

    def import_files(self, stored: object, paths: list[str] | None) -> Updates:
        """Take in uploaded files."""
        panel, own = self.panel, read_own(stored, self.library)
        try:
            texts = read_uploads([Path(path) for path in paths or []])
            result = import_yaml(own, texts, self.library)
        except PrismError as error:
            return {panel.status: notice("error", f"Nothing was imported. {error}")}
        parts = [f"Added: {', '.join(result.added)}."] if result.added else []
        parts += [f"Replaced: {', '.join(result.replaced)}."] if result.replaced else []
        parts += [
            f"'{old}' comes with PRISM Studio, so yours is named '{new}'."
            for old, new in result.renamed
        ]
        updates: Updates = {
            self.own: result.stored,
            panel.status: notice("done", "Imported.", parts),
        }
        names = [*result.added, *(new for _, new in result.renamed), *result.replaced]
        if names:
            now = read_own(result.stored, self.library)
            updates[panel.picker] = gr.Dropdown(choices(self.library, now), value=names[0])
        return updates

    def export_one(self, stored: object, picked: str | None) -> Updates:
        """Hand the page the picked persona as YAML."""
        persona = {**self.library, **read_own(stored, self.library)}.get(picked or "")
        if persona is None:
            return self._nothing("Choose a persona first.")
        return self._file([persona], f"{persona.name}.yaml")

    def export_own(self, stored: object) -> Updates:
        """Hand the page all of the visitor's own personas in one file."""
        own = read_own(stored, self.library)
        if not own:
            return self._nothing("You have no personas of your own yet.")
        return self._file(own.values(), "my-personas.yaml")

    def _file(self, personas: Iterable[Persona], name: str) -> Updates:
        return {
            self.panel.payload: dump_personas(personas),
            self.panel.filename: name,
            self.panel.status: notice("done", f"{name} is saved."),
        }

    def _nothing(self, why: str) -> Updates:
        return {self.panel.payload: "", self.panel.status: notice("info", why)}

    def count(self, *texts: str) -> str:
        """Count the tokens of the texts in the editor."""
        given = {length: text or "" for length, text in zip(LENGTHS, texts, strict=True)}
        return counts_line(given, self.counter.count)
