"""Filters, the choice of a figure, the figure with its reading, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.shared import QUIET, Shared, fragment
from app.common.text import escape, notice
from app.explore.bar import StudyBar, StudyBarHandlers
from app.explore.form import FILTER_FIELDS, filters_of, options_of
from app.explore.gallery import Gallery
from app.explore.plot_clicks import CLICKABLE, SECOND, click_bridge
from app.explore.views import csv_text, left_line, reading_panel, shown_table
from prism_core.analysis import make_view
from prism_core.errors import PrismError
from prism_core.figures import FIGURES, FigureResult, find_figure

LABELS = {
    "models": "Model",
    "arms": "Arm",
    "personas": "Persona",
    "lengths": "Length",
    "placements": "Placement",
    "tasks": "Task",
    "categories": "Category",
}
FIRST_FIGURE = next(iter(FIGURES))


@dataclass(frozen=True)
class Figures:
    """The components around the figures."""

    box: gr.Column
    filters: list[gr.Dropdown]
    clear: gr.Button
    left: gr.HTML
    figure: gr.Radio
    score: gr.Radio
    matched: gr.Checkbox
    overlay: gr.Checkbox
    title: gr.HTML
    first: gr.Plot
    first_name: gr.HTML
    first_reading: gr.HTML
    second_box: gr.Column
    second: gr.Plot
    second_name: gr.HTML
    second_reading: gr.HTML
    numbers: gr.Dataframe
    second_numbers: gr.Dataframe
    save: gr.Button
    payload: gr.Textbox
    bridge: gr.HTML

    @property
    def options(self) -> list[Any]:
        """The inputs of a figure, the filters behind them."""
        return [self.figure, self.score, self.matched, self.overlay, *self.filters]

    @property
    def outputs(self) -> list[Any]:
        """What `FigureHandlers.draw` sets."""
        return [
            self.box,
            self.left,
            self.title,
            self.score,
            self.matched,
            self.overlay,
            self.first,
            self.first_name,
            self.first_reading,
            self.numbers,
            self.second_box,
            self.second,
            self.second_name,
            self.second_reading,
            self.second_numbers,
        ]


def build_figures() -> Figures:
    """Lay filters and figures out; they are hidden until there is a study."""
    parts: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="px-explore") as box:
        parts |= _filters()
        with gr.Column(elem_classes="px-card", elem_id="px-figure-card"):
            parts["figure"] = gr.Radio(
                [(kind.title, kind.name) for kind in FIGURES.values()],
                value=FIRST_FIGURE,
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
                with gr.Column(elem_classes=CLICKABLE, min_width=300):
                    parts |= _plot("first")
                with gr.Column(
                    elem_classes=[CLICKABLE, SECOND], visible=False, min_width=300
                ) as second:
                    parts |= _plot("second")
            parts["second_box"] = second
            fragment(
                '<p class="px-help">Click a point, a bar or a cell to see the answers behind it. '
                "With a keyboard, choose a row of the numbers below.</p>"
            )
            parts["bridge"] = click_bridge("px-bridge")
            parts |= _numbers()
    return Figures(box=box, **parts)


def _filters() -> dict[str, Any]:
    filters = []
    with gr.Accordion("Filters", open=False, elem_id="px-filters", elem_classes="px-card"):
        with gr.Row(elem_classes="px-row"):
            for name in FILTER_FIELDS:
                filters.append(
                    gr.Dropdown(
                        [],
                        value=[],
                        multiselect=True,
                        label=LABELS[name],
                        elem_id=f"px-filter-{name}",
                        min_width=180,
                    )
                )
        with gr.Row(elem_classes="px-tools"):
            clear = gr.Button("Show everything", size="sm", elem_id="px-filters-clear")
    left = fragment(elem_id="px-left")
    return {"filters": filters, "clear": clear, "left": left}


def _plot(which: str) -> dict[str, Any]:
    return {
        f"{which}_name": fragment(elem_id=f"px-{which}-name"),
        which: gr.Plot(show_label=False, elem_id=f"px-{which}-plot"),
        f"{which}_reading": fragment(elem_id=f"px-{which}-reading"),
    }


def _numbers() -> dict[str, Any]:
    with gr.Accordion("The numbers", open=False, elem_id="px-numbers"):
        tables = [
            gr.Dataframe(
                interactive=False,
                show_label=False,
                buttons=[],
                wrap=False,
                max_height=420,
                elem_id=name,
                elem_classes="px-frame",
                visible=name == "px-figure-data",
            )
            for name in ("px-figure-data", "px-figure-data-2")
        ]
        with gr.Row(elem_classes="px-tools"):
            save = gr.Button("Download these numbers (CSV)", size="sm", elem_id="px-figure-save")
        payload = gr.Textbox(visible="hidden", elem_id="px-figure-payload", show_label=False)
    return {"numbers": tables[0], "second_numbers": tables[1], "save": save, "payload": payload}


@dataclass(frozen=True)
class FigureHandlers:
    """The listeners that draw."""

    librarian: StudyBarHandlers
    gallery: Gallery

    def result(self, study_id: str, *values: Any) -> FigureResult:
        """The figure that the page's choices mean.

        Raises:
            NotFoundError: there is no such study or figure.
        """
        name, score, matched, overlay, *filters = values
        opened = self.librarian.find(study_id)
        options = options_of(score, matched, overlay, opened.study.spec.delta)
        return self.gallery.get(opened, str(name), filters_of(filters), options)

    def draw(self, study_id: str, other_id: str, *values: Any) -> list[Any]:
        """Draw the chosen figure of one study, or of two. Sets `Figures.outputs`."""
        if not study_id:
            return [gr.Column(visible=False), *[gr.skip()] * 14]
        try:
            kind = find_figure(str(values[0]))
            opened = self.librarian.find(study_id)
            found = self.result(study_id, *values)
            line = left_line(make_view(opened.grid, filters_of(values[4:])))
            beside = self._beside(other_id, values)
        except PrismError as error:
            return [gr.Column(visible=True), notice("error", str(error)), *[gr.skip()] * 13]
        name = _name(opened.title) if other_id else ""
        return [
            gr.Column(visible=True),
            line,
            f"<h3>{escape(kind.title)}</h3><p class='px-help'>{escape(kind.question)}</p>",
            gr.Radio(visible=kind.by_score),
            gr.Checkbox(visible=kind.can_match),
            gr.Checkbox(visible=kind.has_overlay),
            found.figure,
            name,
            reading_panel(found.reading, found.note),
            gr.Dataframe(shown_table(found.data), visible=not found.is_empty),
            *beside,
        ]

    def _beside(self, other_id: str, values: tuple[Any, ...]) -> list[Any]:
        if not other_id:
            return [gr.Column(visible=False), None, "", "", gr.Dataframe(visible=False)]
        found = self.result(other_id, *values)
        return [
            gr.Column(visible=True),
            found.figure,
            _name(self.librarian.find(other_id).title),
            reading_panel(found.reading, found.note),
            gr.Dataframe(shown_table(found.data), visible=not found.is_empty),
        ]

    def numbers(self, study_id: str, other_id: str, *values: Any) -> str:
        """The drawn numbers of both studies as CSV."""
        try:
            text = csv_text(self.result(study_id, *values).data)
            if other_id:
                text += "\n" + csv_text(self.result(other_id, *values).data)
        except PrismError:
            return ""
        return text


def _name(title: str) -> str:
    return f"<h4 class='px-side-name'>{escape(title)}</h4>"


def wire_figures(
    figures: Figures, bar: StudyBar, librarian: StudyBarHandlers, shared: Shared
) -> FigureHandlers:
    """Connect filters and figures; gives the painter, for the items behind them."""
    painter = FigureHandlers(librarian, Gallery())
    inputs = [bar.study_id, bar.other, *figures.options]
    opened = [
        bar.about,
        bar.status,
        bar.parquet,
        bar.csv,
        bar.link,
        bar.refresh,
        bar.delete,
        *figures.filters,
    ]
    # A study that is offered again may have grown in between, though its id has not changed.
    for event in (bar.study_id.change, bar.refresh.click, shared.explored.change):
        event(librarian.open, [bar.study_id, shared.visitor_state], opened, **QUIET).then(
            painter.draw, inputs, figures.outputs, **QUIET
        )
    changes = [one.change for one in figures.filters]
    gr.on(
        [
            *changes,
            bar.other.change,
            figures.figure.input,
            figures.score.input,
            figures.matched.input,
            figures.overlay.input,
        ],
        painter.draw,
        inputs,
        figures.outputs,
        trigger_mode="always_last",
        **QUIET,
    )
    figures.clear.click(lambda: [[]] * len(FILTER_FIELDS), None, figures.filters, **QUIET)
    figures.save.click(painter.numbers, inputs, figures.payload, **QUIET).then(
        None,
        [figures.payload, figures.figure],
        None,
        js="(text, name) => { if (text) "
        "window.prism.save(`prism-${name}.csv`, 'text/csv', text); }",
        api_visibility="private",
    )
    return painter
