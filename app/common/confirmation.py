"""The question that is asked before something is deleted."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.common.shared import QUIET, fragment


@dataclass(frozen=True)
class Confirmation:
    """A hidden row with a question and its two answers."""

    row: gr.Row
    yes: gr.Button
    no: gr.Button

    def ask_at(self, button: gr.Button) -> None:
        """Ask when a button is clicked; whoever listens to `yes` hides the row."""
        button.click(lambda: gr.Row(visible=True), None, self.row, **QUIET)
        self.no.click(lambda: gr.Row(visible=False), None, self.row, **QUIET)


def build_confirmation(question: str, elem_id: str | None = None) -> Confirmation:
    """Lay the question out."""
    with gr.Row(visible=False, elem_classes="px-tools", elem_id=elem_id) as row:
        fragment(f'<p class="px-warning">{question}</p>')
        yes = gr.Button("Yes, delete it", size="sm", variant="stop")
        no = gr.Button("Keep it", size="sm")
    return Confirmation(row, yes, no)
