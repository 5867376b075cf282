"""Which study is explored: choose one, bring a file, take one away, share a link."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.common.shared import QUIET, Shared, fragment
from app.common.text import escape, notice
from app.explore.form import FILTER_FIELDS, filter_choices
from app.explore.views import about_panel, csv_text
from app.services.downloads import download_path, file_name
from app.services.study_imports import IMPORT_PREFIX
from app.services.study_shelf import OpenStudy, StudyShelf
from app.services.visitor import need_visitor, read_visitor
from prism_core.errors import InputError, NotFoundError, PrismError
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
    confirm: gr.Row
    confirm_delete: gr.Button
    confirm_keep: gr.Button
    file: gr.DownloadButton
    about: gr.HTML
    status: gr.HTML


def build_bar(shared: Shared) -> StudyBar:
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
        with gr.Row(visible=False, elem_classes="px-tools") as confirm:
            fragment('<p class="px-warning">Delete this file from here?</p>')
            parts["confirm_delete"] = gr.Button("Yes, delete it", size="sm", variant="stop")
            parts["confirm_keep"] = gr.Button("Keep it", size="sm")
        parts["confirm"] = confirm
        parts["status"] = fragment(elem_id="px-study-status")
        with gr.Accordion("What accuracy and alignment mean", open=False, elem_id="px-meaning"):
            gr.Markdown(DEFINITION, elem_classes="px-definition")
            fragment(f'<p class="px-help">{escape(_size_line(shared))}</p>')
    return StudyBar(**parts)


def _size_line(shared: Shared) -> str:
    most = shared.settings.max_upload_bytes / 1e6
    return (
        f"Study files may have {most:.0f} MB. They are checked and shown, nothing in them is "
        "executed, and only whoever has the link can open yours."
    )


@dataclass(frozen=True)
class StudyBarHandlers:
    """The listeners that choose a study."""

    shelf: StudyShelf

    def enter(self, study_id: str, stored: object, request: gr.Request) -> list[Any]:
        """The tab is opened: the chosen study, else the link's; gives (id, study, other)."""
        asked = str(dict(request.query_params).get("study", ""))[:80]
        if not study_id and asked and self._has_answers(asked):
            study_id = asked
        return self._first(study_id, stored)

    def _has_answers(self, study_id: str) -> bool:
        """Whether there is something to look at, if only why there is nothing."""
        try:
            return not self.shelf.open(study_id, fresh=True).study.rows.empty
        except PrismError:
            return True

    def _first(self, study_id: str, stored: object) -> list[Any]:
        """A study, else the first there is; gives (id, study, other)."""
        entries = self.shelf.entries(read_visitor(stored))
        found = study_id or (entries[0].id if entries else "")
        return [found, *self.choices(found, stored)]

    def offered(self, text: str, stored: object) -> list[Any]:
        """Another tab offers a study; gives (id, study, other, status)."""
        study_id = text.split(" ")[0]
        return [study_id, *self.choices(study_id, stored), ""]

    def choices(self, study_id: str, stored: object) -> list[Any]:
        """What can be chosen; gives (study, other)."""
        entries = self.shelf.entries(read_visitor(stored))
        names = [(e.title, e.id) for e in entries]
        if study_id and study_id not in [e.id for e in entries]:
            try:
                names.append((f"{self.shelf.open(study_id).title} (by link)", study_id))
            except PrismError:
                study_id = ""
        return [
            gr.Dropdown(names, value=study_id or None),
            gr.Dropdown([("None", ""), *(n for n in names if n[1] != study_id)], value=""),
        ]

    def open(self, study_id: str, stored: object) -> list[Any]:
        """What is known of the study; gives (about, status, buttons, filters)."""
        keep = [gr.skip()] * len(FILTER_FIELDS)
        hidden = [gr.Button(visible=False)] * 5
        if not study_id:
            return [EMPTY, "", *hidden, *keep]
        try:
            opened = self.shelf.open(study_id, fresh=True)
        except PrismError as error:
            return [EMPTY, notice("error", str(error)), *hidden, *keep]
        owner = read_visitor(stored)
        own = any(e.id == study_id for e in self.shelf.entries(owner)) if owner else False
        offered = filter_choices(opened.grid)
        return [
            about_panel(opened),
            gr.skip(),  # what was said on the way here, as that a file is open, stays
            gr.Button(visible=True),
            gr.Button(visible=True),
            gr.Button(visible=True),
            gr.Button(visible=not opened.study.finished),
            gr.Button(visible=own and study_id.startswith(IMPORT_PREFIX)),
            *(gr.Dropdown(offered[name], value=[]) for name in FILTER_FIELDS),
        ]

    def bring(self, path: str | None, stored: object) -> list[Any]:
        """Keep a visitor's file; gives (id, study, other, status)."""
        try:
            if not path:
                raise InputError("No file arrived. Try again.")
            found = self.shelf.imports.add(Path(path), need_visitor(stored))
        except PrismError as error:
            return [gr.skip(), gr.skip(), gr.skip(), notice("error", str(error))]
        line = notice("done", f"'{found.title}' is open. Only who has its link can see it.")
        return [found.id, *self.choices(found.id, stored), line]

    def delete(self, study_id: str, stored: object) -> list[Any]:
        """Forget a visitor's file; gives (id, study, other, status, confirmation)."""
        hidden = gr.Row(visible=False)
        try:
            self.shelf.imports.delete(study_id, need_visitor(stored))
            self.shelf.forget(study_id)
        except PrismError as error:
            return [gr.skip(), gr.skip(), gr.skip(), notice("error", str(error)), hidden]
        left = self._first("", stored)
        return [*left, notice("done", "The file is deleted."), hidden]

    def parquet(self, study_id: str) -> tuple[Any, str]:
        """The whole study as a file; gives (hidden file button, status)."""
        return self._export(study_id, ".parquet")

    def csv(self, study_id: str) -> tuple[Any, str]:
        """All answers as CSV; gives (hidden file button, status)."""
        return self._export(study_id, ".csv")

    def _export(self, study_id: str, ending: str) -> tuple[Any, str]:
        try:
            opened = self.shelf.open(study_id)
            path = download_path(_file_name(opened) + ending)
            if ending == ".csv":
                path.write_text(csv_text(opened.study.rows), encoding="utf-8")
            else:
                save_study(opened.study, path)
        except PrismError as error:
            return gr.skip(), notice("error", str(error))
        return gr.DownloadButton(value=str(path)), ""

    def find(self, study_id: str) -> OpenStudy:
        """The study of an id.

        Raises:
            NotFoundError: there is none.
        """
        if not study_id:
            raise NotFoundError("No study is chosen.")
        return self.shelf.open(study_id)


def _file_name(opened: OpenStudy) -> str:
    return file_name(opened.study.spec.name, "study")


def wire_bar(bar: StudyBar, shared: Shared, librarian: StudyBarHandlers, tab: gr.Tab) -> None:
    """Connect the chooser's own controls."""
    visitor = shared.visitor_state
    chosen = [bar.study_id, bar.study, bar.other]
    tab.select(librarian.enter, [bar.study_id, visitor], chosen, **QUIET)
    bar.study.input(
        lambda name: (name or "", ""), bar.study, [bar.study_id, bar.status], **QUIET
    ).then(librarian.choices, [bar.study_id, visitor], [bar.study, bar.other], **QUIET)
    shared.explored.change(
        librarian.offered, [shared.explored, visitor], [*chosen, bar.status], **QUIET
    )
    bar.upload.upload(librarian.bring, [bar.upload, visitor], [*chosen, bar.status], **QUIET)
    bar.delete.click(lambda: gr.Row(visible=True), None, bar.confirm, **QUIET)
    bar.confirm_keep.click(lambda: gr.Row(visible=False), None, bar.confirm, **QUIET)
    bar.confirm_delete.click(
        librarian.delete, [bar.study_id, visitor], [*chosen, bar.status, bar.confirm], **QUIET
    )
    for button, export in ((bar.parquet, librarian.parquet), (bar.csv, librarian.csv)):
        button.click(export, bar.study_id, [bar.file, bar.status], **QUIET).then(
            None,
            None,
            None,
            js="() => window.prism.press('#px-study-file')",
            api_visibility="private",
        )
    bar.link.click(
        None,
        bar.study_id,
        None,
        js="(id) => window.prism.copyLink('?study=' + id)",
        api_visibility="private",
    ).then(lambda: notice("done", "The link is copied."), None, bar.status, **QUIET)
