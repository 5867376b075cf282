"""Start, run and stop a comparison.

`start` checks the inputs before anything waits in the queue and leaves an `Order`; the order's
change triggers `run`, which streams. `stop` sets the event that decoding reads at every token and
tidies the page, also when the comparison was still waiting in the queue.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app.common.persona_choices import merge_personas
from app.common.shared import Updates
from app.common.text import count, loading, notice
from app.compare.form import check_selection, selection_of
from app.compare.running import Running
from app.compare.shown import Order, Shown, new_order
from app.compare.views.cards import blind_cards, cards_of, intro_cards
from app.services.adapter_shelf import AdapterShelf
from app.services.model_pool import ModelPool, load_with_news
from app.services.settings import Settings
from app.services.visitor import read_visitor
from prism_core.compare.comparison import ArmAnswer, compare
from prism_core.errors import InputError, PrismError
from prism_core.models.generator import Generator
from prism_core.types import Persona

FRAME_SECONDS = 0.1
"""A page is redrawn this often at most while answers stream..."""
_PAGES = 4
"""... if so many are; where more are, drawing them may take no more of the processor."""


@dataclass(frozen=True)
class Screen:
    """The components that a comparison sets."""

    status: gr.HTML
    cards: gr.HTML
    order: gr.State
    """An `Order`, or None before the first."""
    shown: gr.State
    """What is `Shown`, or None."""
    run: gr.Button
    stop: gr.Button

    def buttons(self, *, busy: bool) -> Updates:
        """Offer Stop while a comparison waits or runs, and Compare otherwise."""
        return {self.run: gr.Button(interactive=not busy), self.stop: gr.Button(visible=busy)}

    def idle(self, status: str) -> Updates:
        """Say how it ended and offer Compare."""
        return {self.status: status, **self.buttons(busy=False)}

    def draw(self, shown: Shown) -> Updates:
        """Draw the answers."""
        return {self.cards: cards_of(shown), self.shown: shown}


@dataclass(frozen=True)
class CompareHandlers:
    """The listeners around one comparison."""

    screen: Screen
    settings: Settings
    pool: ModelPool
    library: Mapping[str, Persona]
    running: Running
    shelf: AdapterShelf

    def start(self, blind: bool, own: object, visitor: object, *values: Any) -> Updates:
        """Check the inputs and leave an order."""
        screen = self.screen
        try:
            personas = merge_personas(self.library, own)
            selection = check_selection(selection_of(*values), personas, self.settings)
            owner = read_visitor(visitor)
            order = new_order(selection, personas, blind=blind, owner=owner)
            if selection.has_gated_arm:
                self.shelf.entry(selection.adapter, owner)
            if order.shuffle is not None and len(order.shuffle) < 2:
                raise InputError("A blind vote needs at least two arms that can answer.")
        except PrismError as error:
            return screen.idle(notice("error", str(error)))
        if order.shuffle is None:
            cards = intro_cards(selection.arms)
        else:
            nothing = [ArmAnswer(arm, "", None, None) for arm in selection.arms]
            cards = blind_cards(nothing, order.shuffle)
        waiting = notice("busy", "Waiting for your turn.")
        buttons = screen.buttons(busy=True)
        return {screen.status: waiting, screen.cards: cards, screen.order: order, **buttons}

    def run(self, order: Order | None, request: gr.Request) -> Iterator[Updates]:
        """Stream the answers of an order."""
        if order is None or self.running.was_stopped(order.id):
            return
        session = request.session_hash or order.id
        event = self.running.start(session, order.id)
        try:
            yield from self._stream(order, event)
        except PrismError as error:
            yield self.screen.idle(notice("error", str(error)))
        finally:
            self.running.finish(session, event)

    def _stream(self, order: Order, event: threading.Event) -> Iterator[Updates]:
        chosen = order.selection
        for report in load_with_news(self.pool, chosen.model):
            line = report.note[:1].upper() + report.note[1:] + "…"
            yield {self.screen.status: loading(line, report.done, report.total)}
        with self.pool.lend(chosen.model) as model:
            yield from self._show_answers(order, model, event)

    def _show_answers(
        self, order: Order, model: Generator, event: threading.Event
    ) -> Iterator[Updates]:
        screen, chosen, gated = self.screen, order.selection, None
        if chosen.has_gated_arm:
            gated = self.shelf.load(chosen.adapter, order.owner, model)
        began = drawn = time.monotonic()
        shown = Shown(order, (), model.name)
        yield {screen.status: notice("busy", f"{model.name} is answering.")}
        for answers in compare(order.request, model, cancel=event, adapter=gated):
            shown = replace(shown, answers=answers)
            # After Stop a frame would overwrite what `stop` has drawn.
            pause = FRAME_SECONDS * max(1.0, self.running.count / _PAGES)
            if time.monotonic() - drawn >= pause and not event.is_set():
                drawn = time.monotonic()
                yield screen.draw(shown)
        shown = shown.stopped() if event.is_set() else replace(shown, phase="done")
        status = _finished(shown, time.monotonic() - began)
        yield {**screen.idle(status), **screen.draw(shown)}

    def stop(self, order: Order | None, shown: Shown | None, request: gr.Request) -> Updates:
        """Stop writing."""
        self.running.stop(request.session_hash or "", order.id if order is not None else "")
        buttons = self.screen.buttons(busy=False)
        return buttons if order is None else {**buttons, **self._stopped(order, shown)}

    def settle(self, order: Order | None, shown: Shown | None) -> Updates:
        """Draw what Stop drew once more, after all that `run` sent has arrived.

        Frames of `run` come over the queue's stream, the answer of `stop` does not: a frame sent
        just before Stop may arrive after it.
        """
        if order is None or not self.running.was_stopped(order.id):
            return gr.skip()
        return self._stopped(order, shown)

    def _stopped(self, order: Order, shown: Shown | None) -> Updates:
        screen = self.screen
        if shown is None or shown.order is not order:
            line = notice("warn", "Stopped before the first word.")
            cards = intro_cards(order.selection.arms)
            return {screen.status: line, screen.cards: cards, screen.shown: None}
        shown = shown.stopped()
        return {screen.status: _stop_notice(shown), **screen.draw(shown)}

    def leave(self, request: gr.Request) -> None:
        """Stop what runs on a page that was closed."""
        self.running.forget(request.session_hash or "")

    def reset(self, order: Order | None) -> Updates:
        """Say what went wrong after a defect or a full queue; nothing after Stop."""
        if order is not None and self.running.was_stopped(order.id):
            return gr.skip()
        if order is None or not self.running.has_begun(order.id):
            return self.refuse()
        line = "Something broke while the answers were written. Please press Compare again."
        return self.screen.idle(notice("error", line))

    def refuse(self) -> Updates:
        """Say that the queue takes no more."""
        line = (
            "The queue is full: too many requests are waiting already, here or from your address. "
            "Please press Compare again in a minute."
        )
        return self.screen.idle(notice("warn", line))


def _stop_notice(shown: Shown) -> str:
    tokens = sum(a.completion.tokens for a in shown.answers if a.completion is not None)
    line = f"Stopped after {count(tokens, 'token')}. Press Compare to run it again."
    return notice("warn", line)


def _finished(shown: Shown, seconds: float) -> str:
    if shown.phase == "stopped":
        return _stop_notice(shown)
    written = count(len(shown.answered), "answer")
    if shown.is_hidden:
        return notice("done", f"{written} in {seconds:.1f} s. Now choose the one you prefer.")
    return notice("done", f"{written} by {shown.model_name} in {seconds:.1f} s.")
