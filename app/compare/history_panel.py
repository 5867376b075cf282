"""A visitor's history: saved in their browser, shown as a table, exported, cleared.

Exports never touch the server's disk: a listener returns the text to the visitor's own page, and
the page makes the file. Tabs of one visitor tell each other, inside the browser, what they save: a
tab that hears of it adds it to its own list, so that none overwrites what another has kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
import pandas as pd

from app.common.shared import QUIET, Updates, fragment, then_script
from app.common.text import count, notice
from app.compare.composer import Composer
from app.compare.form import FIELDS
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
from app.compare.views.cards import arm_title
from prism_core.errors import InputError
from prism_core.storage import loads

EXPORTS: tuple[tuple[str, str, str, Callable[[list[HistoryEntry]], str]], ...] = (
    ("Export CSV", "prism-history.csv", "text/csv", to_csv),
    ("Export JSONL", "prism-history.jsonl", "application/jsonl", to_jsonl),
    ("Export preference pairs", "prism-preferences.jsonl", "application/jsonl", preference_pairs),
)

TELL = "(entries) => window.prism.tell(entries)"
"""The page's script that tells the visitor's other tabs what has been saved."""
HISTORY_COLUMNS = ["When (UTC)", "Question", "Persona", "Arms", "Tokens", "Vote"]


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


@dataclass(frozen=True)
class HistoryHandlers:
    """The listeners around the history; `stored` is what the browser keeps."""

    panel: HistoryPanel
    stored: gr.BrowserState
    composer: Composer
    status: gr.HTML

    def save(self, shown: Shown | None, stored: object) -> Any:
        """Add what is on the screen; hidden arms are not told to the browser."""
        if shown is None or shown.is_hidden or not shown.answered:
            return gr.skip()
        return write_history(remember(read_history(stored), entry_of(shown)))

    def hear(self, said: str, stored: object) -> Any:
        """Add what another tab saved; where that one was cleared, clear this one."""
        try:
            told = loads(said)
        except InputError:
            return gr.skip()
        if told == []:
            return []
        return write_history(merge_histories(read_history(stored), read_history(told)))

    def show(self, stored: object) -> Updates:
        """Draw the table of what is stored."""
        panel, entries = self.panel, read_history(stored)
        some = bool(entries)
        label = f"Your history ({len(entries)})" if some else "Your history"
        return {
            panel.fold: gr.Accordion(label=label),
            panel.empty: gr.HTML(visible=not some),
            panel.table: gr.Dataframe(history_frame(entries), visible=some),
            panel.tools: gr.Row(visible=some),
        }

    def reopen(self, stored: object, event: gr.SelectData) -> Updates:
        """Bring the inputs of a row back; they are checked when they are run."""
        row = event.index[0] if isinstance(event.index, list | tuple) else event.index
        entry = read_history(stored)[::-1][row]
        values = {name: getattr(entry, name) for name in FIELDS if name != "arms"}
        values |= {"arms": [a.arm for a in entry.arms], "adapter": entry.adapter or None}
        line = "These are the inputs of that comparison. Press Compare to run it again."
        return {self.status: notice("info", line), **self.composer.show(values)}

    def clear(self) -> Updates:
        """Forget everything."""
        line = "Your history is gone from this browser."
        return {self.stored: [], self.panel.status: notice("done", line)}

    def export(self, write: Callable[[list[HistoryEntry]], str], stored: object) -> Updates:
        """Hand the page the text of a file."""
        text = write(read_history(stored))
        if text:
            said = notice("done", f"{count(text.count(chr(10)), 'line')} saved.")
        else:
            said = notice("info", "There is no vote yet that prefers one answer to another.")
        return {self.panel.payload: text, self.panel.status: said}


def history_frame(entries: Sequence[HistoryEntry]) -> pd.DataFrame:
    """Return a row for each comparison, the latest first."""
    rows = [
        (
            entry.at[:16].replace("T", " "),
            _short(entry.question),
            f"{entry.persona}, {entry.length}",
            ", ".join(arm_title(a.arm) for a in entry.arms),
            sum(a.tokens for a in entry.arms),
            "No preference" if entry.vote == "none" else arm_title(entry.vote or ""),
        )
        for entry in reversed(entries)
    ]
    return pd.DataFrame(rows, columns=HISTORY_COLUMNS)


def _short(text: str, width: int = 90) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def wire_history(handlers: HistoryHandlers, page: gr.Blocks) -> None:
    """Connect the history's own controls."""
    panel, stored = handlers.panel, handlers.stored
    gr.on(
        [page.load, stored.change],
        handlers.show,
        stored,
        [panel.fold, panel.empty, panel.table, panel.tools],
        **QUIET,
    )
    panel.table.select(
        handlers.reopen, stored, [handlers.status, *handlers.composer.fields], **QUIET
    )
    cleared = panel.clear.click(handlers.clear, None, [stored, panel.status], **QUIET)
    then_script(cleared, TELL, stored)
    panel.heard.change(handlers.hear, [panel.heard, stored], stored, **QUIET)
    for button, (_, name, kind, write) in zip(panel.exports, EXPORTS, strict=True):
        exported = button.click(
            partial(handlers.export, write), stored, [panel.payload, panel.status], **QUIET
        )
        script = f"(text) => {{ if (text) window.prism.save('{name}', '{kind}', text); }}"
        then_script(exported, script, panel.payload)
