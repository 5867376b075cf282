"""The shelf on the page: list adapters, look at one, rename, download, delete, push, try.

Deleting asks first. On a Space with a login the adapter is pushed as whoever has signed in;
elsewhere a Hub token is read once, from a password field that is emptied afterwards. It is kept
nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.shared import (
    QUIET,
    Confirmation,
    Shared,
    Updates,
    build_confirmation,
    fragment,
    then_script,
)
from app.common.text import notice
from app.services.adapter_shelf import AdapterShelf, ShelfEntry
from app.services.visitor import need_visitor, read_visitor
from app.train.views.results import adapter_sheet
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
    confirm: Confirmation
    status: gr.HTML
    hub: gr.Accordion
    repository: gr.Textbox
    token: gr.Textbox
    private: gr.Checkbox
    push: gr.Button
    hub_status: gr.HTML


def build_shelf(has_login: bool) -> ShelfPanel:
    """Lay the shelf out; where visitors sign in with Hugging Face, no token is asked for."""
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
        question = "Delete this adapter? It cannot be brought back."
        parts["confirm"] = build_confirmation(question, "px-shelf-confirm")
        parts["status"] = fragment(elem_id="px-shelf-status")
        parts |= _hub(has_login)
    return ShelfPanel(**parts)


def _hub(has_login: bool) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    with gr.Accordion(
        "Push to the Hugging Face Hub", open=False, visible=False, elem_id="px-hub"
    ) as hub:
        with gr.Row(elem_classes="px-row px-end"):
            parts["repository"] = gr.Textbox(
                label="Repository",
                placeholder="your-name/your-adapter",
                max_lines=1,
                elem_id="px-hub-repository",
            )
            if has_login:
                gr.LoginButton(size="sm", elem_id="px-hub-login")
            parts["token"] = gr.Textbox(
                label="Write token",
                type="password",
                max_lines=1,
                elem_id="px-hub-token",
                info="Used once and kept nowhere.",
                visible=not has_login,
            )
        parts["private"] = gr.Checkbox(True, label="Private repository")
        parts["push"] = gr.Button("Push", size="sm", elem_id="px-hub-push")
        parts["hub_status"] = fragment(elem_id="px-hub-status")
    return {"hub": hub, **parts}


@dataclass(frozen=True)
class ShelfHandlers:
    """The shelf's listeners."""

    shelf: AdapterShelf
    panel: ShelfPanel

    def show(self, stored: object, chosen: str | None) -> Updates:
        """List the adapters and show the chosen one."""
        try:
            entries = self.shelf.entries(read_visitor(stored))
        except PrismError as error:
            return {self.panel.sheet: notice("error", str(error))}
        entry = next((e for e in entries if e.id == chosen), next(iter(entries), None))
        choices = [(f"{e.title} · {e.info.base.label}", e.id) for e in entries]
        picker = gr.Radio(choices, value=entry.id if entry is not None else None)
        return {self.panel.picker: picker, **self._entry(entry)}

    def pick(self, stored: object, chosen: str | None) -> Updates:
        """Show the chosen adapter."""
        try:
            entry = self.shelf.entry(str(chosen or ""), read_visitor(stored))
        except PrismError as error:
            return {**self._entry(None), self.panel.sheet: notice("error", str(error))}
        return self._entry(entry)

    def _entry(self, entry: ShelfEntry | None) -> Updates:
        panel, some = self.panel, entry is not None
        own = entry is not None and not entry.is_shipped
        return {
            panel.sheet: adapter_sheet(entry),
            panel.tools: gr.Row(visible=some),
            panel.hub: gr.Accordion(visible=some),
            panel.own: gr.Row(visible=own),
            panel.name: entry.info.name if entry is not None else "",
            panel.confirm.row: gr.Row(visible=False),
        }

    def rename(self, stored: object, chosen: str | None, name: str) -> Updates:
        """Give the adapter another name."""
        try:
            info = self.shelf.rename(str(chosen or ""), need_visitor(stored), str(name or ""))
        except PrismError as error:
            return {self.panel.status: notice("error", str(error))}
        return {self.panel.status: notice("done", f"It is called '{info.name}' now.")}

    def delete(self, stored: object, chosen: str | None) -> Updates:
        """Delete the adapter."""
        line = notice("done", "The adapter is deleted.")
        try:
            self.shelf.delete(str(chosen or ""), need_visitor(stored))
        except PrismError as error:
            line = notice("error", str(error))
        return {self.panel.confirm.row: gr.Row(visible=False), self.panel.status: line}

    def download(self, stored: object, chosen: str | None) -> Updates:
        """Prepare the zip behind the hidden file button."""
        try:
            path = self.shelf.zip_file(str(chosen or ""), read_visitor(stored))
        except PrismError as error:
            return {self.panel.status: notice("error", str(error))}
        return {self.panel.file: gr.DownloadButton(value=str(path)), self.panel.status: ""}

    def push_signed_in(
        self,
        stored: object,
        chosen: str | None,
        repository: str,
        token: str,
        private: bool,
        login: gr.OAuthToken | None,
    ) -> Updates:
        """Upload the adapter as whoever has signed in; the token's field is not read."""
        if login is None:
            line = notice("error", "Sign in with Hugging Face first: the button is above.")
            return {self.panel.token: "", self.panel.hub_status: line}
        return self.push(stored, chosen, repository, login.token, private)

    def push(
        self, stored: object, chosen: str | None, repository: str, token: str, private: bool
    ) -> Updates:
        """Upload the adapter, and empty the token's field."""
        try:
            url = self.shelf.push(
                str(chosen or ""),
                need_visitor(stored),
                str(repository or ""),
                str(token or ""),
                private=bool(private),
            )
            line = notice("done", f"Pushed to {url}.")
        except PrismError as error:
            line = notice("error", str(error))
        return {self.panel.token: "", self.panel.hub_status: line}


def wire_shelf(panel: ShelfPanel, shared: Shared, tab: gr.Tab, mark: gr.Textbox) -> None:
    """Connect the shelf's own controls; it is read again when `tab` opens or `mark` changes."""
    handlers = ShelfHandlers(shared.shelf, panel)
    who = [shared.visitor_state, panel.picker]
    shown = [panel.sheet, panel.tools, panel.hub, panel.own, panel.name, panel.confirm.row]
    listing = [panel.picker, *shown]

    gr.on([tab.select, mark.change], handlers.show, who, listing, **QUIET)
    panel.picker.input(handlers.pick, who, shown, **QUIET)
    panel.confirm.ask_at(panel.delete)
    for event in (
        panel.rename.click(handlers.rename, [*who, panel.name], panel.status, **QUIET),
        panel.confirm.yes.click(handlers.delete, who, [panel.confirm.row, panel.status], **QUIET),
    ):
        event.then(handlers.show, who, listing, **QUIET)
    ready = panel.download.click(handlers.download, who, [panel.file, panel.status], **QUIET)
    then_script(ready, "() => window.prism.press('#px-adapter-file')")
    panel.push.click(
        handlers.push_signed_in if shared.settings.has_login else handlers.push,
        [*who, panel.repository, panel.token, panel.private],
        [panel.token, panel.hub_status],
        concurrency_limit=2,
        show_progress="minimal",
        api_visibility="private",
    )
    panel.try_it.click(shared.offer, panel.picker, [shared.tried, shared.tabs], **QUIET)
