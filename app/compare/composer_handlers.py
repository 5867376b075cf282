"""What fills the composer in: links, example questions, the visitor's personas and adapters."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.persona_choices import control_choices, merge_personas, persona_choices
from app.common.shared import Updates
from app.common.text import notice
from app.compare.composer import Composer
from app.compare.examples import Example, labels, pick
from app.compare.form import Selection, check_selection, read_query, selection_of, values_of
from app.compare.views.cards import persona_note
from app.services.adapter_shelf import AdapterShelf
from app.services.settings import Settings
from app.services.visitor import read_visitor
from prism_core.compare.comparison import ARMS
from prism_core.errors import PrismError
from prism_core.types import Persona

Choices = list[tuple[str, str]]


@dataclass(frozen=True)
class ComposerHandlers:
    """The listeners that fill the composer in; `stored` are the visitor's own personas."""

    composer: Composer
    status: gr.HTML
    settings: Settings
    shelf: AdapterShelf
    library: Mapping[str, Persona]
    examples: tuple[Example, ...]

    def enter(
        self,
        stored: object,
        visitor: object,
        persona: str,
        control: str,
        adapter: str | None,
        length: str,
    ) -> Updates:
        """Offer what other tabs may have changed."""
        composer, default = self.composer, Selection()
        personas, shelf = merge_personas(self.library, stored), self._adapters(visitor)
        return {
            composer.persona: _choice(
                persona_choices(personas, self.library), persona, default.persona
            ),
            composer.control: _choice(control_choices(personas), control, default.control),
            composer.adapter: _choice(shelf, adapter or "", _first(shelf), visible=bool(shelf)),
            composer.persona_text: self.describe(stored, persona, length),
        }

    def take_adapter(self, visitor: object, tried: str, arms: list[str]) -> Updates:
        """Choose the adapter that another tab offers."""
        offered = self._adapters(visitor)
        chosen = (tried or "").partition(" ")[0]
        if chosen not in [name for _, name in offered]:
            return gr.skip()
        line = "The PRISM arm now answers with that adapter. Ask something and press Compare."
        return {
            self.composer.adapter: gr.Dropdown(offered, value=chosen, visible=True),
            self.composer.arms: [arm for arm in ARMS if arm in arms or arm == "prism"],
            self.status: notice("info", line),
        }

    def describe(self, stored: object, persona: str, length: str) -> str:
        """Show what the persona is told at this length."""
        return persona_note(merge_personas(self.library, stored).get(persona or ""), length)

    def surprise(self, question: str, event: gr.EventData) -> Updates:
        """Fill in an example, of the category whose button was pressed, and its persona."""
        names = dict(zip((c._id for c in self.composer.chips), labels(self.examples), strict=True))
        label = names.get(getattr(event.target, "_id", -1))
        example = pick(self.examples, random.Random(), label, question)
        return self.composer.show({"question": example.question, "persona": example.persona})

    def link(self, stored: object, *values: Any) -> Updates:
        """Show the query string of these inputs, which the page makes a link."""
        box = self.composer.link_box
        try:
            personas = merge_personas(self.library, stored)
            chosen = check_selection(selection_of(*values), personas, self.settings)
        except PrismError as error:
            return {
                box: gr.Textbox(value="", visible=False),
                self.status: notice("error", str(error)),
            }
        return {box: gr.Textbox(value=chosen.to_query(), visible=True)}

    def arrive(self, stored: object, visitor: object, request: gr.Request) -> Updates:
        """Fill in what the page's address asks for."""
        composer = self.composer
        personas = merge_personas(self.library, stored)
        reading = read_query(dict(request.query_params), personas, self.settings)
        adapters = self._adapters(visitor)
        chosen = reading.selection.adapter or _first(adapters)
        problems = list(reading.problems)
        if chosen and chosen not in [name for _, name in adapters]:
            problems.append(f"The link's adapter was left out. '{chosen}' is not on your shelf.")
            chosen = _first(adapters)
        updates = {} if reading.is_empty else composer.show(values_of(reading.selection))
        updates[composer.adapter] = gr.Dropdown(
            adapters, value=chosen or None, visible=bool(adapters)
        )
        for field, offered in (
            (composer.persona, persona_choices(personas, self.library)),
            (composer.control, control_choices(personas)),
        ):
            filled = {"value": updates[field]} if field in updates else {}
            updates[field] = gr.Dropdown(offered, **filled)
        if not reading.is_empty:
            line = "The link filled in the inputs. Press Compare to run them."
            updates[self.status] = notice("warn" if problems else "info", line, problems)
        return updates

    def _adapters(self, visitor: object) -> Choices:
        entries = self.shelf.entries(read_visitor(visitor))
        return [(entry.title, entry.id) for entry in entries]


def _first(offered: Choices) -> str:
    return offered[0][1] if offered else ""


def _choice(offered: Choices, chosen: str, default: str, visible: bool = True) -> gr.Dropdown:
    """Offer new choices and leave the chosen one alone, unless it is gone.

    Setting it would undo what a link fills in at the same moment.
    """
    if any(chosen == name for _, name in offered):
        return gr.Dropdown(offered, visible=visible)
    return gr.Dropdown(offered, value=default or None, visible=visible)
