"""Which study is explored: choose one, bring a file, take one away, share a link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
from app.explore.form import filter_choices
from app.explore.views import about_panel, csv_text
from app.services.clients import client_of
from app.services.downloads import download_path, file_name
from app.services.settings import Settings
from app.services.study_shelf import IMPORT_PREFIX, StudyShelf
from app.services.visitor import need_visitor, read_visitor
from prism_core.errors import InputError, PrismError
from prism_core.study.file import save_study
from prism_core.study.scores import DEFINITION

EMPTY = (
    "<div class='px-empty'><h3>No study to explore yet</h3><p>A study asks a model the same "
    "questions plainly and with each persona, and measures what changes. Start one in the Study "
    "tab, or open a study file that somebody gave you.</p></div>"
)


@dataclass(frozen=True)
class StudyBar:
    """The components that choose a study."""

    study_id: gr.Textbox
    study: gr.Dropdown
    other: gr.Dropdown
    upload: gr.UploadButton
    parquet: gr.Button
    csv: gr.Button
    link: gr.Button
    refresh: gr.Button
    delete: gr.Button
    confirm: Confirmation
    file: gr.DownloadButton
    about: gr.HTML
    status: gr.HTML

    @property
    def tools(self) -> list[gr.Button]:
        """The buttons that need a study."""
        return [self.parquet, self.csv, self.link, self.refresh, self.delete]


def build_bar(settings: Settings) -> StudyBar:
    """Lay the study's chooser out."""
    parts: dict[str, Any] = {"study_id": gr.Textbox(visible="hidden", elem_id="px-study-id")}
    with gr.Column(elem_classes="px-card", elem_id="px-explore-bar"):
        fragment(
            "<h2>Explore a study</h2><p class='px-help'>What does a persona really do? Every point "
            "is measured, every interval is paired by item, and the answers are one click away.</p>"
        )
        with gr.Row(elem_classes="px-row"):
            parts["study"] = gr.Dropdown([], label="Study", elem_id="px-study", min_width=260)
            parts["other"] = gr.Dropdown(
                [("None", "")], value="", label="Beside it", elem_id="px-other", min_width=260
            )
        parts["about"] = fragment(EMPTY, elem_id="px-study-about")
        with gr.Row(elem_classes="px-tools"):
            parts["upload"] = gr.UploadButton(
                "Open a study file", file_types=[".parquet"], size="sm", elem_id="px-study-upload"
            )
            for name, label in (
                ("parquet", "Download study"),
                ("csv", "Download as CSV"),
                ("link", "Copy link"),
                ("refresh", "Refresh"),
                ("delete", "Delete file"),
            ):
                parts[name] = gr.Button(label, size="sm", visible=False, elem_id=f"px-study-{name}")
            parts["file"] = gr.DownloadButton(elem_id="px-study-file", elem_classes="px-unseen")
        parts["confirm"] = build_confirmation("Delete this file from here?")
        parts["status"] = fragment(elem_id="px-study-status")
        with gr.Accordion("What accuracy and alignment mean", open=False, elem_id="px-meaning"):
            gr.Markdown(DEFINITION, elem_classes="px-definition")
            fragment(
                f'<p class="px-help">Study files may have {settings.max_upload_bytes / 1e6:.0f} '
                "MB. They are checked and shown, nothing in them is executed, and only whoever has "
                "the link can open yours.</p>"
            )
    return StudyBar(**parts)


@dataclass(frozen=True)
class StudyBarHandlers:
    """The listeners that choose a study."""

    shelf: StudyShelf
    bar: StudyBar
    filters: Mapping[str, gr.Dropdown]

    def enter(self, study_id: str, stored: object, request: gr.Request) -> Updates:
        """Open the tab on the chosen study, else the link's, else the first there is."""
        asked = str(dict(request.query_params).get("study", ""))[:80]
        if not study_id and asked and self._has_answers(asked):
            study_id = asked
        return self._choose(study_id, stored)

    def _has_answers(self, study_id: str) -> bool:
        """Tell whether there is something to look at, if only why there is nothing."""
        try:
            return not self.shelf.open(study_id, fresh=True).study.rows.empty
        except PrismError:
            return True

    def _choose(self, study_id: str, stored: object) -> Updates:
        """Choose a study, else the first there is."""
        entries = self.shelf.entries(read_visitor(stored))
        found = study_id or (entries[0].id if entries else "")
        return {self.bar.study_id: found, **self.choices(found, stored)}

    def pick(self, study_id: str | None) -> Updates:
        """Choose the study of the list."""
        return {self.bar.study_id: study_id or "", self.bar.status: ""}

    def offered(self, text: str, stored: object) -> Updates:
        """Choose the study that another tab offers; see `Shared.explore`."""
        study_id = text.split(" ")[0]
        updates = {self.bar.study_id: study_id, self.bar.status: ""}
        return {**updates, **self.choices(study_id, stored)}

    def choices(self, study_id: str, stored: object) -> Updates:
        """List what can be chosen."""
        entries = self.shelf.entries(read_visitor(stored))
        names = [(e.title, e.id) for e in entries]
        if study_id and study_id not in [e.id for e in entries]:
            try:
                names.append((f"{self.shelf.open(study_id).title} (by link)", study_id))
            except PrismError:
                study_id = ""
        others = [("None", ""), *(n for n in names if n[1] != study_id)]
        return {
            self.bar.study: gr.Dropdown(names, value=study_id or None),
            self.bar.other: gr.Dropdown(others, value=""),
        }

    def open(self, study_id: str, stored: object) -> Updates:
        """Show what is known of the study, and what its filters offer.

        What was said on the way here, as that a file is open, stays.
        """
        bar = self.bar
        try:
            opened = self.shelf.open(study_id, fresh=True) if study_id else None
            said = {} if study_id else {bar.status: ""}
        except PrismError as error:
            opened, said = None, {bar.status: notice("error", str(error))}
        if opened is None:
            hidden = {button: gr.Button(visible=False) for button in bar.tools}
            return {bar.about: EMPTY, **said, **hidden}
        owner = read_visitor(stored)
        own = any(e.id == study_id for e in self.shelf.entries(owner)) if owner else False
        offered = filter_choices(opened.grid)
        shown = {button: gr.Button(visible=True) for button in bar.tools}
        return {
            bar.about: about_panel(opened),
            **shown,
            bar.refresh: gr.Button(visible=not opened.study.finished),
            bar.delete: gr.Button(visible=own and study_id.startswith(IMPORT_PREFIX)),
            **{one: gr.Dropdown(offered[name], value=[]) for name, one in self.filters.items()},
        }

    def bring(self, path: str | None, stored: object, request: gr.Request) -> Updates:
        """Keep a visitor's file."""
        try:
            if not path:
                raise InputError("No file arrived. Try again.")
            found = self.shelf.imports.add(Path(path), need_visitor(stored), client_of(request))
        except PrismError as error:
            return {self.bar.status: notice("error", str(error))}
        line = notice("done", f"'{found.title}' is open. Only who has its link can see it.")
        return {**self._choose(found.id, stored), self.bar.status: line}

    def delete(self, study_id: str, stored: object) -> Updates:
        """Forget a visitor's file."""
        updates: Updates = {self.bar.confirm.row: gr.Row(visible=False)}
        try:
            self.shelf.imports.delete(study_id, need_visitor(stored))
            self.shelf.forget(study_id)
        except PrismError as error:
            return {**updates, self.bar.status: notice("error", str(error))}
        line = notice("done", "The file is deleted.")
        return {**updates, **self._choose("", stored), self.bar.status: line}

    def export(self, ending: str, study_id: str) -> Updates:
        """Prepare the whole study, or all answers as CSV, behind the hidden file button."""
        try:
            study = self.shelf.open(study_id).study
            path = download_path(file_name(study.spec.name, "study") + ending)
            if ending == ".csv":
                path.write_text(csv_text(study.rows), encoding="utf-8")
            else:
                save_study(study, path)
        except PrismError as error:
            return {self.bar.status: notice("error", str(error))}
        return {self.bar.file: gr.DownloadButton(value=str(path)), self.bar.status: ""}


def wire_bar(handlers: StudyBarHandlers, shared: Shared, tab: gr.Tab) -> None:
    """Connect the chooser's own controls."""
    bar, visitor = handlers.bar, shared.visitor_state
    listed = [bar.study, bar.other]
    chosen = [bar.study_id, *listed]
    told = [*chosen, bar.status]
    mine = [bar.study_id, visitor]
    tab.select(handlers.enter, mine, chosen, **QUIET)
    picked = bar.study.input(handlers.pick, bar.study, [bar.study_id, bar.status], **QUIET)
    picked.then(handlers.choices, mine, listed, **QUIET)
    shared.explored.change(handlers.offered, [shared.explored, visitor], told, **QUIET)
    bar.upload.upload(handlers.bring, [bar.upload, visitor], told, **QUIET)
    bar.confirm.ask_at(bar.delete)
    bar.confirm.yes.click(handlers.delete, mine, [*told, bar.confirm.row], **QUIET)
    for button, ending in ((bar.parquet, ".parquet"), (bar.csv, ".csv")):
        ready = button.click(
            partial(handlers.export, ending), bar.study_id, [bar.file, bar.status], **QUIET
        )
        then_script(ready, "() => window.prism.press('#px-study-file')")
    script = "(id) => window.prism.copyLink('?study=' + id)"
    copied = bar.link.click(None, bar.study_id, js=script, api_visibility="private")
    copied.then(lambda: notice("done", "The link is copied."), None, bar.status, **QUIET)
