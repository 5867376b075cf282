"""Filters, the choice of a figure, the figure with its reading, and its numbers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.shared import QUIET, Shared, Updates, fragment, then_script
from app.common.text import escape, notice
from app.explore.bar import StudyBarHandlers
from app.explore.form import FILTER_FIELDS, filters_of, options_of
from app.explore.plot_clicks import CLICKABLE, SECOND, click_bridge
from app.explore.views import csv_text, left_line, reading_panel, shown_table
from app.services.study_shelf import OpenStudy, StudyShelf
from prism_core.analysis import Filters, make_view
from prism_core.errors import NotFoundError, PrismError
from prism_core.figures import FIGURES, FigureOptions, FigureResult, find_figure
from prism_core.utils.lru import LRU

LABELS = {
    "models": "Model",
    "arms": "Arm",
    "personas": "Persona",
    "lengths": "Length",
    "placements": "Placement",
    "tasks": "Task",
    "categories": "Category",
}


@dataclass(frozen=True)
class Side:
    """The components of one study's figure."""

    box: gr.Column
    name: gr.HTML
    """The study's, where there are two."""
    plot: gr.Plot
    reading: gr.HTML
    numbers: gr.Dataframe

    @property
    def outputs(self) -> list[Any]:
        """What a figure changes."""
        return [self.box, self.name, self.plot, self.reading, self.numbers]

    def show(self, found: FigureResult, title: str) -> Updates:
        """Show a figure under a study's title, if it has one."""
        return {
            self.box: gr.Column(visible=True),
            self.name: f"<h4 class='px-side-name'>{escape(title)}</h4>" if title else "",
            self.plot: found.figure,
            self.reading: reading_panel(found.reading, found.note),
            self.numbers: gr.Dataframe(shown_table(found.data), visible=not found.is_empty),
        }

    def hide(self) -> Updates:
        """Show nothing."""
        hidden = {self.box: gr.Column(visible=False), self.numbers: gr.Dataframe(visible=False)}
        return {**hidden, self.name: "", self.plot: None, self.reading: ""}


@dataclass(frozen=True)
class Figures:
    """The components around the figures."""

    box: gr.Column
    filters: Mapping[str, gr.Dropdown]
    clear: gr.Button
    left: gr.HTML
    figure: gr.Radio
    score: gr.Radio
    matched: gr.Checkbox
    overlay: gr.Checkbox
    title: gr.HTML
    first: Side
    second: Side
    save: gr.Button
    payload: gr.Textbox
    """Hidden: the numbers on their way into a file."""
    bridge: gr.HTML

    @property
    def options(self) -> list[Any]:
        """The inputs of a figure, the filters last."""
        options = [self.figure, self.score, self.matched, self.overlay]
        return [*options, *self.filters.values()]

    @property
    def outputs(self) -> list[Any]:
        """What another figure, filter or study changes."""
        around = [self.box, self.left, self.title, self.score, self.matched, self.overlay]
        return [*around, *self.first.outputs, *self.second.outputs]


def build_figures() -> Figures:
    """Lay filters and figures out; they are hidden until there is a study."""
    parts: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="px-explore") as box:
        parts |= _filters()
        with gr.Column(elem_classes="px-card", elem_id="px-figure-card"):
            parts["figure"] = gr.Radio(
                [(kind.title, kind.name) for kind in FIGURES.values()],
                value=next(iter(FIGURES)),
                show_label=False,
                container=False,
                elem_id="px-figure",
            )
            parts["title"] = fragment(elem_id="px-figure-title")
            with gr.Row(elem_classes="px-row px-figure-options"):
                parts["score"] = gr.Radio(
                    [("Accuracy", "accuracy"), ("Alignment", "alignment")],
                    value="accuracy",
                    show_label=False,
                    container=False,
                    elem_id="px-score",
                    visible=False,
                )
                parts["matched"] = gr.Checkbox(
                    False,
                    label="Only each category's own expert",
                    elem_id="px-matched",
                    container=False,
                )
                parts["overlay"] = gr.Checkbox(
                    False,
                    label="Lay the paper's numbers over it (reported)",
                    elem_id="px-overlay",
                    container=False,
                )
            with gr.Row(elem_classes="px-row px-two", equal_height=False):
                with gr.Column(elem_classes=CLICKABLE, min_width=300) as left:
                    first = _plot("first")
                with gr.Column(
                    elem_classes=[CLICKABLE, SECOND], visible=False, min_width=300
                ) as right:
                    second = _plot("second")
            fragment(
                '<p class="px-help">Click a point, a bar or a cell to see the answers behind it. '
                "With a keyboard, choose a row of the numbers below.</p>"
            )
            parts["bridge"] = click_bridge("px-bridge")
            with gr.Accordion("The numbers", open=False, elem_id="px-numbers"):
                first |= {"box": left, "numbers": _numbers("px-figure-data", True)}
                second |= {"box": right, "numbers": _numbers("px-figure-data-2", False)}
                with gr.Row(elem_classes="px-tools"):
                    parts["save"] = gr.Button(
                        "Download these numbers (CSV)", size="sm", elem_id="px-figure-save"
                    )
                parts["payload"] = gr.Textbox(
                    visible="hidden", elem_id="px-figure-payload", show_label=False
                )
    return Figures(box=box, first=Side(**first), second=Side(**second), **parts)


def _filters() -> dict[str, Any]:
    with gr.Accordion("Filters", open=False, elem_id="px-filters", elem_classes="px-card"):
        with gr.Row(elem_classes="px-row"):
            filters = {
                name: gr.Dropdown(
                    [],
                    value=[],
                    multiselect=True,
                    label=LABELS[name],
                    elem_id=f"px-filter-{name}",
                    min_width=180,
                )
                for name in FILTER_FIELDS
            }
        with gr.Row(elem_classes="px-tools"):
            clear = gr.Button("Show everything", size="sm", elem_id="px-filters-clear")
    return {"filters": filters, "clear": clear, "left": fragment(elem_id="px-left")}


def _plot(which: str) -> dict[str, Any]:
    return {
        "name": fragment(elem_id=f"px-{which}-name"),
        "plot": gr.Plot(show_label=False, elem_id=f"px-{which}-plot"),
        "reading": fragment(elem_id=f"px-{which}-reading"),
    }


def _numbers(elem_id: str, visible: bool) -> gr.Dataframe:
    return gr.Dataframe(
        interactive=False,
        show_label=False,
        buttons=[],
        wrap=False,
        max_height=420,
        elem_id=elem_id,
        elem_classes="px-frame",
        visible=visible,
    )


class Gallery:
    """Figures drawn lately, by study, filters and options; threads may share it."""

    def __init__(self) -> None:
        self._drawn: LRU[Hashable, FigureResult] = LRU(64)

    def get(
        self, opened: OpenStudy, name: str, filters: Filters, options: FigureOptions
    ) -> FigureResult:
        """Draw a figure, unless it was just drawn; a `NotFoundError` if there is none."""
        kind = find_figure(name)
        return self._drawn.get_or_make(
            (opened.id, opened.mark, name, filters, options),
            lambda: kind(make_view(opened.grid, filters), options),
        )


@dataclass(frozen=True)
class FigureHandlers:
    """The listeners that draw."""

    shelf: StudyShelf
    gallery: Gallery
    figures: Figures

    def find(self, study_id: str) -> OpenStudy:
        """Return the study of an id; a `NotFoundError` if there is none."""
        if not study_id:
            raise NotFoundError("No study is chosen.")
        return self.shelf.open(study_id)

    def result(self, study_id: str, *values: Any) -> FigureResult:
        """Draw the figure that the values of `Figures.options` mean.

        Raises:
            NotFoundError: there is no such study or figure.
        """
        name, score, matched, overlay, *filters = values
        opened = self.find(study_id)
        options = options_of(score, matched, overlay, opened.study.spec.delta)
        return self.gallery.get(opened, str(name), filters_of(filters), options)

    def draw(self, study_id: str, other_id: str, *values: Any) -> Updates:
        """Draw the chosen figure of one study, or of two."""
        figures = self.figures
        if not study_id:
            return {figures.box: gr.Column(visible=False)}
        try:
            kind = find_figure(str(values[0]))
            opened = self.find(study_id)
            found = self.result(study_id, *values)
            line = left_line(make_view(opened.grid, filters_of(values[4:])))
            second = figures.second.hide()
            if other_id:
                title = self.find(other_id).title
                second = figures.second.show(self.result(other_id, *values), title)
        except PrismError as error:
            return {figures.box: gr.Column(visible=True), figures.left: notice("error", str(error))}
        return {
            figures.box: gr.Column(visible=True),
            figures.left: line,
            figures.title: f"<h3>{escape(kind.title)}</h3>"
            f"<p class='px-help'>{escape(kind.question)}</p>",
            figures.score: gr.Radio(visible=kind.by_score),
            figures.matched: gr.Checkbox(visible=kind.can_match),
            figures.overlay: gr.Checkbox(visible=kind.has_overlay),
            **figures.first.show(found, opened.title if other_id else ""),
            **second,
        }

    def numbers(self, study_id: str, other_id: str, *values: Any) -> Updates:
        """Write the drawn numbers of both studies as CSV."""
        studies = [study_id, other_id] if other_id else [study_id]
        try:
            text = "\n".join(csv_text(self.result(one, *values).data) for one in studies)
        except PrismError:
            text = ""
        return {self.figures.payload: text}

    def clear(self) -> Updates:
        """Empty the filters."""
        return {one: [] for one in self.figures.filters.values()}


def wire_figures(handlers: FigureHandlers, bar_handlers: StudyBarHandlers, shared: Shared) -> None:
    """Connect filters and figures."""
    figures, bar = handlers.figures, bar_handlers.bar
    filters = list(figures.filters.values())
    draw: dict[str, Any] = {
        "fn": handlers.draw,
        "inputs": [bar.study_id, bar.other, *figures.options],
        "outputs": figures.outputs,
        **QUIET,
    }
    opened = [bar.about, bar.status, *bar.tools, *filters]
    # A study that is offered again may have grown in between, though its id has not changed.
    for event in (bar.study_id.change, bar.refresh.click, shared.explored.change):
        mine = [bar.study_id, shared.visitor_state]
        event(bar_handlers.open, mine, opened, **QUIET).then(**draw)
    choices: list[Any] = [figures.figure, figures.score, figures.matched, figures.overlay]
    changes = [one.change for one in (*filters, bar.other)]
    gr.on([*changes, *(one.input for one in choices)], trigger_mode="always_last", **draw)
    figures.clear.click(handlers.clear, None, filters, **QUIET)
    saved = figures.save.click(handlers.numbers, draw["inputs"], figures.payload, **QUIET)
    script = (
        "(text, name) => { if (text) window.prism.save(`prism-${name}.csv`, 'text/csv', text); }"
    )
    then_script(saved, script, [figures.payload, figures.figure])
