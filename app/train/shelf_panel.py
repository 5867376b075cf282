"""The shelf on the page: list adapters, look at one, rename, download, delete, push, try.

Deleting asks first. The Hub token is read once, from a password field that is emptied afterwards,
and is kept nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.shared import QUIET, Shared, fragment
from app.common.text import notice
from app.services.adapter_shelf import AdapterShelf, ShelfEntry
from app.services.visitor import need_visitor, read_visitor
from app.train.views.adapter_sheet import adapter_sheet
from prism_core.errors import PrismError


@dataclass(frozen=True)
class ShelfPanel:
    """The shelf's components."""

    picker: gr.Radio
    sheet: gr.HTML
    tools: gr.Row
    own: gr.Row
    try_it: gr.Button
    download: gr.Button
    file: gr.DownloadButton
    name: gr.Textbox
    rename: gr.Button
    delete: gr.Button
    confirm: gr.Row
    confirm_delete: gr.Button
    confirm_keep: gr.Button
    status: gr.HTML
    hub: gr.Accordion
    repository: gr.Textbox
    token: gr.Textbox
    private: gr.Checkbox
    push: gr.Button
    hub_status: gr.HTML


def build_shelf() -> ShelfPanel:
    """Lay the shelf out."""
    parts: dict[str, Any] = {}
    with gr.Column(elem_id="px-shelf", elem_classes="px-card"):
        fragment("<h2>Adapters</h2>")
        parts["picker"] = gr.Radio([], show_label=False, container=False, elem_id="px-adapters")
        parts["sheet"] = fragment(elem_id="px-adapter-sheet")
        with gr.Row(elem_classes="px-tools", visible=False) as tools:
            parts["try_it"] = gr.Button("Try it in Compare", size="sm", elem_id="px-adapter-try")
            parts["download"] = gr.Button("Download", size="sm", elem_id="px-adapter-download")
            parts["file"] = gr.DownloadButton(elem_id="px-adapter-file", elem_classes="px-unseen")
        parts["tools"] = tools
        with gr.Row(visible=False, elem_classes="px-tools px-end") as own:
            parts["name"] = gr.Textbox(
                label="Name", max_lines=1, elem_id="px-adapter-name", min_width=200
            )
            parts["rename"] = gr.Button("Rename", size="sm", elem_id="px-adapter-rename")
            parts["delete"] = gr.Button(
                "Delete", size="sm", variant="stop", elem_id="px-adapter-delete"
            )
        parts["own"] = own
        with gr.Row(visible=False, elem_classes="px-tools", elem_id="px-shelf-confirm") as confirm:
            fragment('<p class="px-warning">Delete this adapter? It cannot be brought back.</p>')
            parts["confirm_delete"] = gr.Button("Yes, delete it", size="sm", variant="stop")
            parts["confirm_keep"] = gr.Button("Keep it", size="sm")
        parts["confirm"] = confirm
        parts["status"] = fragment(elem_id="px-shelf-status")
        parts |= _hub()
    return ShelfPanel(**parts)


def _hub() -> dict[str, Any]:
    with gr.Accordion(
        "Push to the Hugging Face Hub", open=False, visible=False, elem_id="px-hub"
    ) as hub:
        with gr.Row(elem_classes="px-row px-end"):
            repository = gr.Textbox(
                label="Repository",
                placeholder="your-name/your-adapter",
                max_lines=1,
                elem_id="px-hub-repository",
            )
            token = gr.Textbox(
                label="Write token",
                type="password",
                max_lines=1,
                elem_id="px-hub-token",
                info="Used once and kept nowhere.",
            )
        private = gr.Checkbox(True, label="Private repository")
        push = gr.Button("Push", size="sm", elem_id="px-hub-push")
        status = fragment(elem_id="px-hub-status")
    return {
        "hub": hub,
        "repository": repository,
        "token": token,
        "private": private,
        "push": push,
        "hub_status": status,
    }


@dataclass(frozen=True)
class ShelfHandlers:
    """The shelf's listeners."""

    shelf: AdapterShelf

    def show(self, stored: object, chosen: str | None) -> list[Any]:
        """The list and the chosen adapter; gives (picker, *`_entry`)."""
        try:
            entries = self.shelf.entries(read_visitor(stored))
        except PrismError as error:
            return [gr.skip(), notice("error", str(error)), *[gr.skip()] * 5]
        ids = [e.id for e in entries]
        picked = chosen if chosen in ids else next(iter(ids), None)
        choices = [(_line(e), e.id) for e in entries]
        entry = next((e for e in entries if e.id == picked), None)
        return [gr.Radio(choices, value=picked), *self._entry(entry)]

    def pick(self, stored: object, chosen: str | None) -> list[Any]:
        """The chosen adapter; gives what `_entry` does."""
        try:
            entry = self.shelf.entry(str(chosen or ""), read_visitor(stored))
        except PrismError as error:
            return [notice("error", str(error)), *self._entry(None)[1:]]
        return self._entry(entry)

    @staticmethod
    def _entry(entry: ShelfEntry | None) -> list[Any]:
        """Sets sheet, tools, hub, own row, name and confirmation."""
        some = entry is not None
        own = entry is not None and not entry.is_shipped
        return [
            adapter_sheet(entry),
            gr.Row(visible=some),
            gr.Accordion(visible=some),
            gr.Row(visible=own),
            entry.info.name if entry is not None else "",
            gr.Row(visible=False),
        ]

    def rename(self, stored: object, chosen: str | None, name: str) -> str:
        """Give the adapter another name; gives the status line."""
        try:
            info = self.shelf.rename(str(chosen or ""), need_visitor(stored), str(name or ""))
        except PrismError as error:
            return notice("error", str(error))
        return notice("done", f"It is called '{info.name}' now.")

    def delete(self, stored: object, chosen: str | None) -> tuple[Any, str]:
        """Delete the adapter; gives (confirmation, status)."""
        try:
            self.shelf.delete(str(chosen or ""), need_visitor(stored))
        except PrismError as error:
            return gr.Row(visible=False), notice("error", str(error))
        return gr.Row(visible=False), notice("done", "The adapter is deleted.")

    def download(self, stored: object, chosen: str | None) -> tuple[Any, str]:
        """Prepare the zip; gives (the hidden file button, status)."""
        try:
            path = self.shelf.zip_file(str(chosen or ""), read_visitor(stored))
        except PrismError as error:
            return gr.skip(), notice("error", str(error))
        return gr.DownloadButton(value=str(path)), ""

    def push(
        self, stored: object, chosen: str | None, repository: str, token: str, private: bool
    ) -> tuple[str, str]:
        """Upload the adapter; gives (the emptied token field, status)."""
        try:
            url = self.shelf.push(
                str(chosen or ""),
                need_visitor(stored),
                str(repository or ""),
                str(token or ""),
                private=bool(private),
            )
        except PrismError as error:
            return "", notice("error", str(error))
        return "", notice("done", f"Pushed to {url}.")


def wire_shelf(panel: ShelfPanel, shared: Shared, tab: gr.Tab, mark: gr.Textbox) -> None:
    """Connect the shelf's own controls; it is read again when `tab` opens or `mark` changes."""
    keeper = ShelfHandlers(shared.shelf)
    who = [shared.visitor_state, panel.picker]
    chosen = [panel.sheet, panel.tools, panel.hub, panel.own, panel.name, panel.confirm]
    listing = [panel.picker, *chosen]

    gr.on([tab.select, mark.change], keeper.show, who, listing, **QUIET)
    panel.picker.input(keeper.pick, who, chosen, **QUIET)
    renamed = panel.rename.click(keeper.rename, [*who, panel.name], panel.status, **QUIET)
    panel.delete.click(lambda: gr.Row(visible=True), None, panel.confirm, **QUIET)
    panel.confirm_keep.click(lambda: gr.Row(visible=False), None, panel.confirm, **QUIET)
    deleted = panel.confirm_delete.click(keeper.delete, who, [panel.confirm, panel.status], **QUIET)
    for event in (renamed, deleted):
        event.then(keeper.show, who, listing, **QUIET)
    panel.download.click(keeper.download, who, [panel.file, panel.status], **QUIET).then(
        None,
        None,
        None,
        js="() => window.prism.press('#px-adapter-file')",
        api_visibility="private",
    )
    panel.push.click(
        keeper.push,
        [*who, panel.repository, panel.token, panel.private],
        [panel.token, panel.hub_status],
        concurrency_limit=2,
        show_progress="minimal",
        api_visibility="private",
    )
    panel.try_it.click(shared.offer, panel.picker, [shared.tried, shared.tabs], **QUIET)


def _line(entry: ShelfEntry) -> str:
    return f"{entry.title} · {entry.info.base.label}"
