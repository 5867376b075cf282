"""The Compare tab: one question, several arms, side by side. Layout and wiring."""

from __future__ import annotations

from functools import partial

import gradio as gr

from app.common.shared import QUIET, USES_MODEL, Shared, fragment, then_script
from app.compare.closer import CloserHandlers, build_closer, wire_closer
from app.compare.composer import Composer, build_composer
from app.compare.composer_handlers import ComposerHandlers
from app.compare.examples import load_examples
from app.compare.form import DEFAULT_ARMS
from app.compare.handlers import CompareHandlers, Screen
from app.compare.history_panel import TELL, HistoryHandlers, build_history, wire_history
from app.compare.running import Running
from app.compare.views.cards import LETTERS, intro_cards
from app.compare.vote import VoteHandlers, build_ballot
from prism_core.personas.library import load_personas


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    settings, pool, shelf = shared.settings, shared.pool, shared.shelf
    library = load_personas()
    examples = load_examples()
    composer = build_composer(settings, library, examples)
    screen = Screen(
        status=fragment(elem_id="px-status"),
        cards=fragment(intro_cards(DEFAULT_ARMS), elem_id="px-cards"),
        run=composer.run,
        stop=composer.stop,
        order=gr.State(None),
        shown=gr.State(None),
    )
    vote = VoteHandlers(build_ballot(), screen)
    closer = CloserHandlers(build_closer(), pool)
    history = HistoryHandlers(build_history(), shared.history_state, composer, screen.status)
    handlers = CompareHandlers(screen, settings, pool, library, Running(), shelf)
    _wire_run(shared, composer, handlers, (vote, closer, history))
    _wire_composer(
        shared, tab, ComposerHandlers(composer, screen.status, settings, shelf, library, examples)
    )
    wire_closer(closer, screen.shown)
    wire_history(history, shared.page)


def _wire_run(
    shared: Shared,
    composer: Composer,
    handlers: CompareHandlers,
    after: tuple[VoteHandlers, CloserHandlers, HistoryHandlers],
) -> None:
    """Connect start, run, stop and vote, and what follows when answers are there."""
    screen, (vote, closer, history) = handlers.screen, after
    status, cards, order, shown = screen.status, screen.cards, screen.order, screen.shown
    buttons = [screen.run, screen.stop]
    asked = screen.run.click(
        handlers.start,
        [composer.blind, shared.personas_state, shared.visitor_state, *composer.fields],
        [status, cards, order, *buttons],
        concurrency_limit=None,  # queued, since only then Gradio tells the page of a changed state
        show_progress="hidden",
        api_visibility="private",
    )
    running = order.change(
        handlers.run,
        order,
        [status, cards, shown, *buttons],
        trigger_mode="multiple",
        show_progress="minimal",
        show_progress_on=status,
        api_visibility="private",
        **USES_MODEL,
    )
    asked.failure(handlers.refuse, None, [status, *buttons], **QUIET)
    running.failure(handlers.reset, order, [status, *buttons], **QUIET)
    shared.page.unload(handlers.leave)
    stopped = screen.stop.click(
        handlers.stop, [order, shown], [status, cards, shown, *buttons], cancels=[running], **QUIET
    )
    running.then(handlers.settle, [order, shown], [status, cards, shown], **QUIET)
    # One listener a button: an updated button's event no longer says which button it was.
    ballot = vote.ballot
    votes = [
        button.click(partial(vote.cast, letter), shown, [status, cards, shown], **QUIET)
        for button, letter in [*zip(ballot.letters, LETTERS, strict=True), (ballot.none, "")]
    ]
    stored = shared.history_state
    for event in (running, stopped, *votes):
        event.then(vote.offer, shown, ballot.outputs, **QUIET)
        event.then(closer.refresh, shown, closer.panel.outputs, **QUIET)
        saved = event.then(history.save, [shown, stored], stored, **QUIET)
        then_script(saved, TELL, stored)


def _wire_composer(shared: Shared, tab: gr.Tab, handlers: ComposerHandlers) -> None:
    """Connect what fills the composer in."""
    composer, status = handlers.composer, handlers.status
    own, visitor = shared.personas_state, shared.visitor_state
    picks = [composer.persona, composer.control, composer.adapter]
    tab.select(
        handlers.enter,
        [own, visitor, *picks, composer.length],
        [*picks, composer.persona_text],
        **QUIET,
    )
    shared.tried.change(
        handlers.take_adapter,
        [visitor, shared.tried, composer.arms],
        [composer.adapter, composer.arms, status],
        **QUIET,
    )
    gr.on(
        [composer.persona.change, composer.length.change],
        handlers.describe,
        [own, composer.persona, composer.length],
        composer.persona_text,
        **QUIET,
    )
    surprised = gr.on(
        [button.click for button in [composer.surprise, *composer.chips]],
        handlers.surprise,
        composer.question,
        [composer.question, composer.persona],
        **QUIET,
    )
    then_script(surprised, "() => window.prism.run()")
    box = composer.link_box
    linked = composer.link.click(handlers.link, [own, *composer.fields], [box, status], **QUIET)
    then_script(linked, "(query) => query ? window.prism.copyLink(query) : query", box, box)
    shared.page.load(handlers.arrive, [own, visitor], [status, *composer.fields], **QUIET)
