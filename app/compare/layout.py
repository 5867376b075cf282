"""The Compare tab: one question, several arms, side by side. Layout and wiring."""

from __future__ import annotations

from functools import partial

import gradio as gr

from app.common.shared import MODEL_QUEUE, QUIET, Shared, fragment
from app.compare.closer import Closer, build_closer, refresh, wire_closer
from app.compare.composer import Composer, build_composer
from app.compare.examples import load_examples
from app.compare.form import DEFAULT_ARMS
from app.compare.handlers import CompareHandlers
from app.compare.history_panel import TELL, build_history, save, wire_history
from app.compare.inputs import Inputs, wire_inputs
from app.compare.running import Running
from app.compare.views.cards import LETTERS, intro_cards
from app.compare.vote import Ballot, build_ballot, cast, offer
from prism_core.personas.library import load_personas


def build(shared: Shared, tab: gr.Tab) -> None:
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
    runner = CompareHandlers(shared.settings, shared.pool, library, Running(), shared.shelf)
    _wire_run(shared, composer, runner, (status, cards, order, shown), (ballot, closer))
    wire_inputs(Inputs(shared, composer, library, examples), tab, status)
    wire_closer(closer, shown, shared.pool)
    wire_history(panel, shared, status, composer.fields)


def _wire_run(
    shared: Shared,
    composer: Composer,
    runner: CompareHandlers,
    screen: tuple[gr.HTML, gr.HTML, gr.State, gr.State],
    after: tuple[Ballot, Closer],
) -> None:
    status, cards, order, shown = screen
    ballot, closer = after
    buttons = [composer.run, composer.stop]
    asked = composer.run.click(
        runner.start,
        [composer.blind, shared.personas_state, shared.visitor_state, *composer.fields],
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
    asked.failure(runner.refuse, None, [status, *buttons], **QUIET)
    running.failure(runner.reset, order, [status, *buttons], **QUIET)
    shared.page.unload(runner.leave)
    stopped = composer.stop.click(
        runner.stop, [order, shown], [status, cards, shown, *buttons], cancels=[running], **QUIET
    )
    # One listener a button: an updated button's event no longer says which button it was.
    votes = [
        button.click(partial(cast, letter), shown, [status, cards, shown], **QUIET)
        for button, letter in [*zip(ballot.letters, LETTERS, strict=True), (ballot.none, "")]
    ]
    for event in (running, stopped, *votes):
        event.then(offer, shown, ballot.outputs, **QUIET)
        event.then(refresh, shown, closer.outputs, **QUIET)
        saved = event.then(save, [shown, shared.history_state], shared.history_state, **QUIET)
        saved.then(None, shared.history_state, None, js=TELL, api_visibility="private")
