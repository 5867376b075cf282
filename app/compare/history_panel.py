"""A visitor's history: saved in their browser, shown as a table, exported, cleared.

Exports never touch the server's disk: a listener returns the text to the visitor's own page, and
the page makes the file. Tabs of one visitor tell each other, inside the browser, what they save: a
tab that hears of it adds it to its own list, so that none overwrites what another has kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.shared import QUIET, Shared, fragment
from app.common.text import count, notice
from app.compare.composer import values_of
from app.compare.form import Selection
from app.compare.history import (
    HistoryEntry,
    entry_of,
    merge_histories,
    preference_pairs,
    read_history,
    remember,
    to_csv,
    to_jsonl,
    write_history,
)
from app.compare.shown import Shown
from app.compare.views.history import HISTORY_COLUMNS, history_frame
from prism_core.types import Sampling

EXPORTS: tuple[tuple[str, str, str, Callable[[list[HistoryEntry]], str]], ...] = (
    ("Export CSV", "prism-history.csv", "text/csv", to_csv),
    ("Export JSONL", "prism-history.jsonl", "application/jsonl", to_jsonl),
    ("Export preference pairs", "prism-preferences.jsonl", "application/jsonl", preference_pairs),
)


TELL = "(entries) => window.prism.tell(entries)"
"""The page's script that tells the visitor's other tabs what has been saved."""


@dataclass(frozen=True)
class HistoryPanel:
    """The history's components."""

    fold: gr.Accordion
    table: gr.Dataframe
    empty: gr.HTML
    tools: gr.Row
    exports: list[gr.Button]
    clear: gr.Button
    payload: gr.Textbox
    heard: gr.Textbox
    status: gr.HTML


def build_history() -> HistoryPanel:
    """Lay the history out, folded."""
    with gr.Accordion("Your history", open=False, elem_id="px-history") as fold:
        empty = fragment(
            '<p class="px-help">Nothing yet. What you compare is kept in this browser alone.</p>'
        )
        table = gr.Dataframe(
            headers=HISTORY_COLUMNS,
            interactive=False,
            visible=False,
            wrap=True,
            max_height=420,
            elem_id="px-history-table",
            buttons=[],
            show_label=False,
        )
        with gr.Row(visible=False, elem_classes="px-tools") as tools:
            exports = [
                gr.Button(label, size="sm", elem_id=f"px-export-{i}")
                for i, (label, *_) in enumerate(EXPORTS)
            ]
            clear = gr.Button("Clear history", size="sm", variant="stop", elem_id="px-clear")
        status = fragment()
        payload = gr.Textbox(visible="hidden", elem_id="px-payload", show_label=False)
    # Outside the fold, whose inside is no part of the page while it is closed.
    heard = gr.Textbox(visible="hidden", elem_id="px-heard", show_label=False)
    return HistoryPanel(fold, table, empty, tools, exports, clear, payload, heard, status)


def save(shown: Shown | None, stored: object) -> Any:
    """The stored history with what is on the screen; hidden arms are not told to the browser."""
    if shown is None or shown.is_hidden or not shown.answered:
        return gr.skip()
    return write_history(remember(read_history(stored), entry_of(shown)))


def hear(said: str, stored: object) -> Any:
    """The stored history with what another tab saved; nothing where that one was cleared."""
    try:
        told = json.loads(said)
    except ValueError:
        return gr.skip()
    if told == []:
        return []
    merged = merge_histories(read_history(stored), read_history(told))
    return write_history(merged)


def show(stored: object) -> list[Any]:
    """The table of what is stored; gives (fold, empty line, table, tools)."""
    entries = read_history(stored)
    label = f"Your history ({len(entries)})" if entries else "Your history"
    some = bool(entries)
    return [
        gr.Accordion(label=label),
        gr.HTML(visible=not some),
        gr.Dataframe(history_frame(entries), visible=some),
        gr.Row(visible=some),
    ]


def reopen(stored: object, event: gr.SelectData) -> list[Any]:
    """Bring the inputs of a row back; gives (status, *fields)."""
    entries = read_history(stored)[::-1]
    row = event.index[0] if isinstance(event.index, list | tuple) else event.index
    entry = entries[row]
    sampling = Sampling(
        entry.max_new_tokens, entry.temperature, entry.top_p, entry.top_k, entry.repetition_penalty
    )
    selection = Selection(
        question=entry.question,
        persona=entry.persona,
        length=entry.length,  # type: ignore[arg-type]  # checked when it is run
        placement=entry.placement,  # type: ignore[arg-type]  # checked when it is run
        arms=tuple(a.arm for a in entry.arms),  # type: ignore[misc]  # read_history checked it
        control=entry.control,
        sampling=sampling,
        seed=entry.seed,
        model=entry.model,
        adapter=entry.adapter,
    )
    line = "These are the inputs of that comparison. Press Compare to run it again."
    return [notice("info", line), *values_of(selection)]


def _exporter(write: Callable[[list[HistoryEntry]], str]) -> Callable[[object], tuple[str, str]]:
    def export(stored: object) -> tuple[str, str]:
        text = write(read_history(stored))
        line = "" if text else "There is no vote yet that prefers one answer to another."
        rows = notice("done", f"{count(text.count(chr(10)), 'line')} saved.") if text else ""
        return text, rows or notice("info", line)

    return export


def wire_history(panel: HistoryPanel, shared: Shared, status: gr.HTML, fields: list[Any]) -> None:
    """Connect the history's own controls."""
    stored = shared.history_state
    gr.on(
        [shared.page.load, stored.change],
        show,
        stored,
        [panel.fold, panel.empty, panel.table, panel.tools],
        **QUIET,
    )
    panel.table.select(reopen, stored, [status, *fields], **QUIET)
    panel.clear.click(
        lambda: ([], notice("done", "Your history is gone from this browser.")),
        None,
        [stored, panel.status],
        **QUIET,
    ).then(None, stored, None, js=TELL, api_visibility="private")
    panel.heard.change(hear, [panel.heard, stored], stored, **QUIET)
    for button, (_, name, kind, write) in zip(panel.exports, EXPORTS, strict=True):
        button.click(_exporter(write), stored, [panel.payload, panel.status], **QUIET).then(
            None,
            panel.payload,
            None,
            js=f"(text) => {{ if (text) window.prism.save('{name}', '{kind}', text); }}",
            api_visibility="private",
        )
