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
from app.common.shared import QUEUE_SIZE
from app.common.text import count, loading, notice
from app.compare.composer import selection_of
from app.compare.form import check_selection
from app.compare.running import Running
from app.compare.shown import Order, Shown, new_order
from app.compare.views.cards import blind_cards, intro_cards, open_cards
from app.services.adapter_shelf import AdapterShelf
from app.services.loading import load_with_news
from app.services.model_pool import ModelPool
from app.services.settings import Settings
from app.services.visitor import read_visitor
from prism_core.compare.comparison import ArmAnswer, compare
from prism_core.errors import PrismError
from prism_core.types import Persona

FRAME_SECONDS = 0.1
"""The page is redrawn this often at most while answers stream."""
View = tuple[Any, ...]


@dataclass(frozen=True)
class CompareHandlers:
    """The listeners around one comparison."""

    settings: Settings
    pool: ModelPool
    library: Mapping[str, Persona]
    running: Running
    shelf: AdapterShelf

    def start(self, blind: bool, own: object, visitor: object, *values: Any) -> View:
        """Check the inputs; gives (status, cards, order, run button, stop button)."""
        try:
            personas = merge_personas(self.library, own)
            selection = check_selection(selection_of(*values), personas, self.settings)
            owner = read_visitor(visitor)
            order = new_order(selection, personas, blind=blind, owner=owner)
            if selection.has_gated_arm:
                self.shelf.entry(selection.adapter, owner)
            if order.shuffle is not None and len(order.shuffle) < 2:
                return _refused("A blind vote needs at least two arms that can answer.")
        except PrismError as error:
            return _refused(str(error))
        arms = selection.arms
        cards = intro_cards(arms) if order.shuffle is None else _hidden(order)
        waiting = notice("busy", "Waiting for your turn.")
        return waiting, cards, order, *_buttons(busy=True)

    def run(self, order: Order | None, request: gr.Request) -> Iterator[View]:
        """Stream the answers; yields (status, cards, shown, run button, stop button)."""
        if order is None or self.running.was_stopped(order.id):
            return
        session = request.session_hash or order.id
        event = self.running.start(session, order.id)
        try:
            yield from self._stream(order, event)
        except PrismError as error:
            yield notice("error", str(error)), gr.skip(), gr.skip(), *_buttons(busy=False)
        finally:
            self.running.finish(session, event)

    def _stream(self, order: Order, event: threading.Event) -> Iterator[View]:
        news = load_with_news(self.pool, order.selection.model)
        while True:
            try:
                report = next(news)
            except StopIteration as end:
                model = end.value
                break
            line = report.note[:1].upper() + report.note[1:] + "…"
            status = loading(line, report.done, report.total)
            yield status, gr.skip(), gr.skip(), gr.skip(), gr.skip()
        chosen = order.selection
        gated = None
        if chosen.has_gated_arm:
            gated = self.shelf.load(chosen.adapter, order.owner, model)
        began = drawn = time.monotonic()
        shown = Shown(order, (), model.name)
        busy = notice("busy", f"{model.name} is answering.")
        yield busy, gr.skip(), gr.skip(), gr.skip(), gr.skip()
        for answers in compare(order.request, model, cancel=event, adapter=gated):
            shown = replace(shown, answers=answers)
            if time.monotonic() - drawn >= FRAME_SECONDS:
                drawn = time.monotonic()
                yield gr.skip(), cards_of(shown), shown, gr.skip(), gr.skip()
        shown = replace(shown, phase="stopped" if event.is_set() else "done")
        status = _finished(shown, time.monotonic() - began)
        yield status, cards_of(shown), shown, *_buttons(busy=False)

    def stop(self, order: Order | None, shown: Shown | None, request: gr.Request) -> View:
        """Stop writing; gives (status, cards, shown, run button, stop button)."""
        self.running.stop(request.session_hash or "", order.id if order is not None else "")
        off = _buttons(busy=False)
        if order is None:
            return gr.skip(), gr.skip(), gr.skip(), *off
        if shown is None or shown.order is not order:
            status = notice("warn", "Stopped before the first word.")
            return status, intro_cards(order.selection.arms), None, *off
        stopped = _stopped(shown)
        return notice("warn", _stop_line(stopped)), cards_of(stopped), stopped, *off

    def leave(self, request: gr.Request) -> None:
        """The visitor has closed the page."""
        self.running.forget(request.session_hash or "")

    def reset(self, order: Order | None) -> View:
        """After a defect or a full queue; gives (status, run button, stop button)."""
        if order is not None and self.running.was_stopped(order.id):
            return gr.skip(), gr.skip(), gr.skip()
        if order is None or not self.running.has_begun(order.id):
            return self.refuse()
        line = "Something broke while the answers were written. Please press Compare again."
        return notice("error", line), *_buttons(busy=False)

    def refuse(self) -> View:
        """The queue takes no more; gives (status, run button, stop button)."""
        line = (
            f"The queue is full: {QUEUE_SIZE} requests are waiting already. "
            "Please press Compare again in a minute."
        )
        return notice("warn", line), *_buttons(busy=False)


def cards_of(shown: Shown) -> str:
    """The cards of what is on the screen, blind or open."""
    variant = shown.order.request.variant
    shuffle = shown.order.shuffle
    if shown.is_hidden and shuffle is not None:
        return blind_cards(shown.answers, shuffle, withhold=shown.withholds)
    preferred = None if shown.vote is None or shown.vote == "none" else shown.vote
    order = shuffle
    if shuffle is not None and len(shuffle) < len(shown.answers):
        order = (*shuffle, *(i for i in range(len(shown.answers)) if i not in shuffle))
    return open_cards(shown.answers, variant, order=order, preferred=preferred)


def _hidden(order: Order) -> str:
    nothing = tuple(ArmAnswer(a, "", None, None) for a in order.selection.arms)
    return blind_cards(nothing, order.shuffle or ())


def _refused(message: str) -> View:
    return notice("error", message), gr.skip(), gr.skip(), *_buttons(busy=False)


def _buttons(*, busy: bool) -> tuple[Any, Any]:
    return gr.Button(interactive=not busy), gr.Button(visible=busy)


def _stopped(shown: Shown) -> Shown:
    answers = tuple(
        replace(a, completion=replace(a.completion, finish="cancelled"))
        if a.completion is not None and a.completion.finish == "running"
        else a
        for a in shown.answers
    )
    answers = tuple(
        replace(a, draft=replace(a.draft, finish="cancelled"))
        if a.draft is not None and a.draft.finish == "running"
        else a
        for a in answers
    )
    return replace(shown, answers=answers, phase="stopped")


def _stop_line(shown: Shown) -> str:
    tokens = sum(a.completion.tokens for a in shown.answers if a.completion is not None)
    return f"Stopped after {count(tokens, 'token')}. Press Compare to run it again."


def _finished(shown: Shown, seconds: float) -> str:
    if shown.phase == "stopped":
        return notice("warn", _stop_line(shown))
    written = count(len(shown.answered), "answer")
    if shown.is_hidden:
        return notice("done", f"{written} in {seconds:.1f} s. Now choose the one you prefer.")
    return notice("done", f"{written} by {shown.model_name} in {seconds:.1f} s.")
