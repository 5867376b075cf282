"""What all tabs share: settings, models, the visitor's browser storage, and the way to a tab.

Every tab is a function `build(shared, tab)` in the `layout.py` of its room, called inside its
`gr.Tab(...)`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.services.adapter_shelf import AdapterShelf
from app.services.jobs import Jobs
from app.services.model_pool import ModelPool
from app.services.settings import Settings
from app.services.speed_probes import ProbeBook
from app.services.study_shelf import StudyShelf
from prism_core.storage import Store

AT_ONCE = 64
"""Visitors whom a model serves at the same time; its engine decodes their answers together."""
USES_MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": AT_ONCE}
"""How listeners that use a model are connected: whoever comes later sees their place in the
queue."""
MEASURES: dict[str, Any] = {"concurrency_id": "measure", "concurrency_limit": 1}
"""How listeners that have a model to themselves for some seconds are connected."""
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""How the page's own quick listeners are connected: at once, unseen, and no part of the API."""
Updates = dict[Any, Any]
"""What a listener returns: new values by component. What is left out stays as it is.

A listener that changes nothing at all returns `gr.skip()`; Gradio refuses an empty dict.
"""
PERSONAS_KEY = "prism-personas-v1"
"""Where a visitor's own personas live in the browser."""
HISTORY_KEY = "prism-history-v1"
"""Where a visitor's history lives in the browser."""


def fragment(value: str = "", elem_id: str | None = None, **more: Any) -> gr.HTML:
    """Lay out HTML with this app's own style only, and no script of its own."""
    return gr.HTML(value, elem_id=elem_id, apply_default_css=False, js_on_load=None, **more)


def then_script(event: Any, script: str, inputs: Any = None, outputs: Any = None) -> None:
    """Let the page run a script of its own after an event."""
    event.then(None, inputs, outputs, js=script, api_visibility="private")


def typed_slider(low: float, high: float, **options: Any) -> gr.Slider:
    """Lay out a slider that hands on what was typed into its box, like a number field.

    Gradio's own refuses a number beyond the ends before any listener is asked, with a bare
    "Error"; here the listener answers, with a sentence. Whatever reads it has to check it. A
    listener that lists it as an output has to give it a value: for any other update, and for none
    as well, Gradio would make a plain slider.
    """
    made = gr.Slider(low, high, **options)
    made.preprocess = lambda payload: payload  # type: ignore[method-assign]
    return made


@dataclass(frozen=True)
class Confirmation:
    """A hidden row that asks before something is deleted, with two answers."""

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


@dataclass(frozen=True)
class Shared:
    """Handed to every tab."""

    page: gr.Blocks
    settings: Settings
    pool: ModelPool
    probes: ProbeBook
    """What each model did in its short probe, for the times that tabs promise."""
    personas_state: gr.BrowserState
    """The visitor's own personas: a list of mappings as `personas.make_persona` takes."""
    history_state: gr.BrowserState
    """The visitor's comparisons and votes: a list of mappings; see `app/compare/history.py`."""
    visitor_state: gr.BrowserState
    """The visitor's opaque id, which owns runs and adapters; see `app/services/visitor.py`."""
    store: Store
    jobs: Jobs
    shelf: AdapterShelf
    studies: StudyShelf
    tried: gr.Textbox
    """Hidden: the adapter that another tab offers to Compare, and a stamp; see `offer`."""
    explored: gr.Textbox
    """Hidden: the study that another tab offers to Explore, and a stamp; see `explore`."""
    tabs: gr.Tabs
    """All tabs; a listener with this as output moves the visitor to another."""

    def offer(self, adapter_id: str) -> tuple[str, gr.Tabs]:
        """Take an adapter to Compare's PRISM arm; return the updates for `tried` and `tabs`.

        The stamp makes a second offer of the same adapter a change as well.
        """
        return f"{adapter_id} {secrets.token_hex(4)}", gr.Tabs(selected="compare")

    def explore(self, study_id: str) -> tuple[str, gr.Tabs]:
        """Take a study to Explore; return the updates for `explored` and `tabs`."""
        return f"{study_id} {secrets.token_hex(4)}", gr.Tabs(selected="explore")
