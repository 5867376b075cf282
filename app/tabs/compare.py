"""The Compare tab: one question, several arms, side by side. Layout and wiring."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

import gradio as gr

from app.examples import Example, labels, load_examples, pick
from app.running import Running
from app.shared import MODEL_QUEUE, Shared, fragment
from app.state import DEFAULT_ARMS, Selection, check_selection, merge_personas, read_query
from app.tabs.compare_closer import Closer, build_closer, refresh, wire_closer
from app.tabs.compare_compose import (
    Composer,
    build_composer,
    control_choices,
    persona_choices,
    selection_of,
    values_of,
)
from app.tabs.compare_history import build_history, save, wire_history
from app.tabs.compare_run import Runner
from app.tabs.compare_vote import Ballot, build_ballot, cast, offer
from app.views.cards import LETTERS, intro_cards, persona_note
from app.views.text import Tone, notice
from prism_core.errors import PrismError
from prism_core.personas import load_personas
from prism_core.types import Persona

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build(shared: Shared) -> None:
    """Lay the tab out and connect it."""
    library = load_personas()
    examples = load_examples()
    composer = build_composer(shared.settings, library, examples)
    status = fragment(elem_id="px-status")
    cards = fragment(intro_cards(DEFAULT_ARMS), elem_id="px-cards")
    ballot = build_ballot()
    closer = build_closer()
    panel = build_history()
    order, shown = gr.State(None), gr.State(None)
    runner = Runner(shared.settings, shared.pool, library, Running())
    _wire_run(shared, composer, runner, (status, cards, order, shown), (ballot, closer))
    _wire_inputs(shared, composer, status, library, examples)
    wire_closer(closer, shown, shared.pool)
    wire_history(panel, shared, status, composer.fields)


def _wire_run(
    shared: Shared,
    composer: Composer,
    runner: Runner,
    screen: tuple[gr.HTML, gr.HTML, gr.State, gr.State],
    after: tuple[Ballot, Closer],
) -> None:
    status, cards, order, shown = screen
    ballot, closer = after
    buttons = [composer.run, composer.stop]
    composer.run.click(
        runner.start,
        [composer.blind, shared.personas_state, *composer.fields],
        [status, cards, order, *buttons],
        concurrency_limit=None,  # queued, since only then Gradio tells the page of a changed state
        show_progress="hidden",
        api_visibility="private",
    )
    running = order.change(
        runner.run,
        order,
        [status, cards, shown, *buttons],
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=1,
        trigger_mode="multiple",
        show_progress="minimal",
        show_progress_on=status,
        api_visibility="private",
    )
    running.failure(runner.reset, order, [status, *buttons], **QUIET)
    shared.page.unload(runner.leave)
    stopped = composer.stop.click(
        runner.stop,
        [order, shown],
        [status, cards, shown, *buttons],
        cancels=[running],
        **QUIET,
    )
    # One listener a button: an updated button's event no longer says which button it was.
    votes = [
        button.click(partial(cast, letter), shown, [status, cards, shown], **QUIET)
        for button, letter in [*zip(ballot.letters, LETTERS, strict=True), (ballot.none, "")]
    ]
    for event in (running, stopped, *votes):
        event.then(offer, shown, ballot.outputs, **QUIET)
        event.then(refresh, shown, closer.outputs, **QUIET)
        event.then(save, [shown, shared.history_state], shared.history_state, **QUIET)


def _wire_inputs(
    shared: Shared,
    composer: Composer,
    status: gr.HTML,
    library: Mapping[str, Persona],
    examples: tuple[Example, ...],
) -> None:
    own = shared.personas_state
    rng = random.Random()

    def choices(stored: object, persona: str, control: str) -> tuple[Any, Any]:
        personas = merge_personas(library, stored)
        default = Selection()
        return (
            _choice(persona_choices(personas, library), persona, default.persona),
            _choice(control_choices(personas), control, default.control),
        )

    def describe(stored: object, persona: str, length: str) -> str:
        return persona_note(merge_personas(library, stored).get(persona or ""), length)

    names = dict(zip((chip._id for chip in composer.chips), labels(examples), strict=True))

    def surprise(question: str, event: gr.EventData) -> tuple[str, str]:
        example = pick(examples, rng, names.get(getattr(event.target, "_id", -1)), question)
        return example.question, example.persona

    def link(stored: object, *values: Any) -> tuple[Any, Any]:
        try:
            personas = merge_personas(library, stored)
            chosen = check_selection(selection_of(*values), personas, shared.settings)
        except PrismError as error:
            return gr.Textbox(value="", visible=False), notice("error", str(error))
        return gr.Textbox(value=chosen.to_query(), visible=True), gr.skip()

    def arrive(stored: object, request: gr.Request) -> list[Any]:
        personas = merge_personas(library, stored)
        reading = read_query(dict(request.query_params), personas, shared.settings)
        if reading.is_empty:
            return [gr.skip()] * (1 + len(composer.fields))
        line = "The link filled in the inputs. Press Compare to run them."
        tone: Tone = "warn" if reading.problems else "info"
        values = values_of(reading.selection)
        for field, offered in (
            (composer.persona, persona_choices(personas, library)),
            (composer.control, control_choices(personas)),
        ):
            place = composer.fields.index(field)
            values[place] = gr.Dropdown(offered, value=values[place])
        return [notice(tone, line, reading.problems), *values]

    picks = [composer.persona, composer.control]
    own.change(choices, [own, *picks], picks, **QUIET)
    gr.on(
        [shared.page.load, own.change, composer.persona.change, composer.length.change],
        describe,
        [own, composer.persona, composer.length],
        composer.persona_text,
        **QUIET,
    )
    gr.on(
        [button.click for button in [composer.surprise, *composer.chips]],
        surprise,
        composer.question,
        [composer.question, composer.persona],
        **QUIET,
    ).then(None, None, None, js="() => window.prism.run()", api_visibility="private")
    composer.link.click(link, [own, *composer.fields], [composer.link_box, status], **QUIET).then(
        None,
        composer.link_box,
        composer.link_box,
        js="(query) => query ? window.prism.copyLink(query) : query",
        api_visibility="private",
    )
    shared.page.load(arrive, own, [status, *composer.fields], **QUIET)


def _choice(offered: list[tuple[str, str]], chosen: str, default: str) -> Any:
    """New choices that leave the chosen one alone, unless it is gone.

    Setting it would undo what a link fills in at the same moment.
    """
    if any(chosen == name for _, name in offered):
        return gr.Dropdown(offered)
    return gr.Dropdown(offered, value=default)
