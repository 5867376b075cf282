"""What fills the composer in: links, example questions, the visitor's personas and adapters."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.persona_choices import control_choices, merge_personas, persona_choices
from app.common.shared import QUIET, Shared
from app.common.text import Tone, notice
from app.compare.composer import Composer, selection_of, values_of
from app.compare.examples import Example, labels, pick
from app.compare.form import ARMS, Selection, check_selection, read_query
from app.compare.views.cards import persona_note
from app.services.visitor import read_visitor
from prism_core.errors import PrismError
from prism_core.types import Persona

Choices = list[tuple[str, str]]


@dataclass(frozen=True)
class Inputs:
    """The listeners that fill the composer in."""

    shared: Shared
    composer: Composer
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
    ) -> list[Any]:
        """Offer what other tabs may have changed; gives (persona, control, adapter, its text)."""
        personas = merge_personas(self.library, stored)
        default, shelf = Selection(), self._shelf(visitor)
        return [
            _choice(persona_choices(personas, self.library), persona, default.persona),
            _choice(control_choices(personas), control, default.control),
            _choice(shelf, adapter or "", _first(shelf), visible=bool(shelf)),
            self.describe(stored, persona, length),
        ]

    def take_adapter(self, visitor: object, tried: str, arms: list[str]) -> tuple[Any, Any, Any]:
        """Choose the adapter that another tab offers; gives (adapter, arms, status)."""
        offered = self._shelf(visitor)
        chosen = (tried or "").partition(" ")[0]
        if chosen not in [name for _, name in offered]:
            return gr.skip(), gr.skip(), gr.skip()
        wanted = [arm for arm in ARMS if arm in arms or arm == "prism"]
        line = "The PRISM arm now answers with that adapter. Ask something and press Compare."
        return gr.Dropdown(offered, value=chosen, visible=True), wanted, notice("info", line)

    def describe(self, stored: object, persona: str, length: str) -> str:
        """What the persona is told at this length."""
        return persona_note(merge_personas(self.library, stored).get(persona or ""), length)

    def surprise(self, question: str, event: gr.EventData) -> tuple[str, str]:
        """An example question, of the category whose button was pressed, and its persona."""
        names = dict(zip((c._id for c in self.composer.chips), labels(self.examples), strict=True))
        label = names.get(getattr(event.target, "_id", -1))
        example = pick(self.examples, random.Random(), label, question)
        return example.question, example.persona

    def link(self, stored: object, *values: Any) -> tuple[Any, Any]:
        """The query string of these inputs; gives (link box, status)."""
        try:
            personas = merge_personas(self.library, stored)
            chosen = check_selection(selection_of(*values), personas, self.shared.settings)
        except PrismError as error:
            return gr.Textbox(value="", visible=False), notice("error", str(error))
        return gr.Textbox(value=chosen.to_query(), visible=True), gr.skip()

    def arrive(self, stored: object, visitor: object, request: gr.Request) -> list[Any]:
        """Fill in what the page's address asks for; gives (status, *fields)."""
        personas = merge_personas(self.library, stored)
        reading = read_query(dict(request.query_params), personas, self.shared.settings)
        adapters = self._shelf(visitor)
        chosen = reading.selection.adapter or _first(adapters)
        problems = list(reading.problems)
        if chosen and chosen not in dict((name, title) for title, name in adapters):
            problems.append(f"The link's adapter was left out. '{chosen}' is not on your shelf.")
            chosen = _first(adapters)
        fields = self.composer.fields
        values = [gr.skip()] * len(fields) if reading.is_empty else values_of(reading.selection)
        values[fields.index(self.composer.adapter)] = gr.Dropdown(
            adapters, value=chosen or None, visible=bool(adapters)
        )
        for field, offered in (
            (self.composer.persona, persona_choices(personas, self.library)),
            (self.composer.control, control_choices(personas)),
        ):
            place = fields.index(field)
            filled = {} if reading.is_empty else {"value": values[place]}
            values[place] = gr.Dropdown(offered, **filled)
        if reading.is_empty:
            return [gr.skip(), *values]
        line = "The link filled in the inputs. Press Compare to run them."
        tone: Tone = "warn" if problems else "info"
        return [notice(tone, line, problems), *values]

    def _shelf(self, visitor: object) -> Choices:
        entries = self.shared.shelf.entries(read_visitor(visitor))
        return [(entry.title, entry.id) for entry in entries]


def wire_inputs(inputs: Inputs, tab: gr.Tab, status: gr.HTML) -> None:
    """Connect what fills the composer in."""
    composer, shared = inputs.composer, inputs.shared
    own, visitor = shared.personas_state, shared.visitor_state
    picks = [composer.persona, composer.control, composer.adapter]
    tab.select(
        inputs.enter,
        [own, visitor, *picks, composer.length],
        [*picks, composer.persona_text],
        **QUIET,
    )
    shared.tried.change(
        inputs.take_adapter,
        [visitor, shared.tried, composer.arms],
        [composer.adapter, composer.arms, status],
        **QUIET,
    )
    gr.on(
        [composer.persona.change, composer.length.change],
        inputs.describe,
        [own, composer.persona, composer.length],
        composer.persona_text,
        **QUIET,
    )
    gr.on(
        [button.click for button in [composer.surprise, *composer.chips]],
        inputs.surprise,
        composer.question,
        [composer.question, composer.persona],
        **QUIET,
    ).then(None, None, None, js="() => window.prism.run()", api_visibility="private")
    composer.link.click(
        inputs.link, [own, *composer.fields], [composer.link_box, status], **QUIET
    ).then(
        None,
        composer.link_box,
        composer.link_box,
        js="(query) => query ? window.prism.copyLink(query) : query",
        api_visibility="private",
    )
    shared.page.load(inputs.arrive, [own, visitor], [status, *composer.fields], **QUIET)


def _first(offered: Choices) -> str:
    return offered[0][1] if offered else ""


def _choice(offered: Choices, chosen: str, default: str, visible: bool = True) -> Any:
    """New choices that leave the chosen one alone, unless it is gone.

    Setting it would undo what a link fills in at the same moment.
    """
    if any(chosen == name for _, name in offered):
        return gr.Dropdown(offered, visible=visible)
    return gr.Dropdown(offered, value=default or None, visible=visible)
