"""The blind vote: which answer do you prefer, before you know who wrote it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import gradio as gr
from gradio.blocks import Block

from app.common.shared import Updates, fragment
from app.common.text import notice
from app.compare.handlers import Screen
from app.compare.shown import Shown
from app.compare.views.cards import LETTERS, arm_title


@dataclass(frozen=True)
class Ballot:
    """The vote's components."""

    box: gr.Column
    letters: list[gr.Button]
    none: gr.Button

    @property
    def outputs(self) -> list[Block]:
        """What `VoteHandlers.offer` sets."""
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


@dataclass(frozen=True)
class VoteHandlers:
    """The listeners around the vote."""

    ballot: Ballot
    screen: Screen

    def offer(self, shown: Shown | None) -> Updates:
        """Show a button for each hidden answer, once they are written."""
        number = 0
        if shown is not None and shown.is_votable and shown.answered:
            number = len(shown.order.shuffle or ())
        buttons = enumerate(self.ballot.letters)
        return {
            self.ballot.box: gr.Column(visible=number > 0),
            **{button: gr.Button(visible=i < number) for i, button in buttons},
        }

    def cast(self, letter: str, shown: Shown | None) -> Updates:
        """Count a vote and lift the veil; no letter means no preference."""
        if shown is None or not shown.is_votable:
            return gr.skip()
        shuffle = shown.order.shuffle or ()
        place = LETTERS.find(letter) if letter else -1
        if 0 <= place < len(shuffle):
            arm = shown.answers[shuffle[place]].arm
            shown = replace(shown, vote=arm)
            line = f"You chose answer {letter}: {arm_title(arm)}. Your vote is in your history."
        else:
            shown = replace(shown, vote="none")
            line = "No preference. Here is who wrote what."
        return {self.screen.status: notice("done", line), **self.screen.draw(shown)}
