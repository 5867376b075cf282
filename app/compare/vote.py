"""The blind vote: which answer do you prefer, before you know who wrote it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app.common.shared import fragment
from app.common.text import notice
from app.compare.handlers import cards_of
from app.compare.shown import Shown
from app.compare.views.cards import LETTERS, LOOKS


@dataclass(frozen=True)
class Ballot:
    """The vote's components."""

    box: gr.Column
    letters: list[gr.Button]
    none: gr.Button

    @property
    def outputs(self) -> list[Any]:
        """What `offer` sets."""
        return [self.box, *self.letters]


def build_ballot() -> Ballot:
    """Lay the vote out; it is hidden unless there is something to vote on."""
    with gr.Column(visible=False, elem_id="px-ballot", elem_classes="px-card") as box:
        fragment("<h2>Which answer do you prefer?</h2>")
        with gr.Row(elem_classes="px-votes"):
            letters = [
                gr.Button(f"Answer {letter}", elem_id=f"px-vote-{letter}") for letter in LETTERS
            ]
            none = gr.Button("No preference", elem_id="px-vote-none")
    return Ballot(box, letters, none)


def offer(shown: Shown | None) -> list[Any]:
    """Show a button for each hidden answer. Sets `Ballot.outputs`."""
    waiting = shown is not None and shown.is_hidden and shown.phase != "running"
    number = len(shown.order.shuffle or ()) if shown is not None else 0
    hidden = not waiting or not (shown and shown.answered)
    buttons = [gr.Button(visible=i < number) for i in range(len(LETTERS))]
    return [gr.Column(visible=not hidden), *buttons]


def cast(letter: str, shown: Shown | None) -> tuple[Any, Any, Any]:
    """Count a vote and lift the veil; gives (status, cards, shown). No letter: no preference."""
    shuffle = shown.order.shuffle if shown is not None else None
    if shown is None or shuffle is None or not shown.is_hidden or shown.phase == "running":
        return gr.skip(), gr.skip(), gr.skip()
    place = LETTERS.find(letter) if len(letter) == 1 else -1
    if 0 <= place < len(shuffle):
        voted = replace(shown, vote=shown.answers[shuffle[place]].arm)
        title = LOOKS[shown.answers[shuffle[place]].arm].title
        line = f"You chose answer {letter}: {title}. Your vote is in your history."
    else:
        voted = replace(shown, vote="none")
        line = "No preference. Here is who wrote what."
    return notice("done", line), cards_of(voted), voted
