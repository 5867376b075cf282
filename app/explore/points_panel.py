"""The items behind a clicked point: side by side, flips first, with a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.form_values import read_whole
from app.common.shared import QUIET, Updates, fragment, then_script
from app.common.text import notice
from app.explore.bar import StudyBar
from app.explore.figures_panel import FigureHandlers, Figures
from app.explore.form import filters_of
from app.explore.items import WHICH, ItemFilter, item_page
from app.explore.views import describe, items_panel, shown_table
from prism_core.analysis import make_view, read_pick
from prism_core.errors import InputError, PrismError

WHICH_CHOICES = [("All", "all"), ("Flips", "flips"), ("Lost", "lost"), ("Gained", "gained")]


@dataclass(frozen=True)
class Points:
    """The components of the items panel."""

    box: gr.Column
    pick: gr.Textbox
    second: gr.Checkbox
    which: gr.Radio
    text: gr.Textbox
    different: gr.Checkbox
    page: gr.Number
    panel: gr.HTML

    @property
    def controls(self) -> list[Any]:
        """The inputs that narrow the items down."""
        return [self.which, self.text, self.different, self.page]


def build_points() -> Points:
    """Lay the items panel out; it is hidden until a point is chosen."""
    parts: dict[str, Any] = {
        "pick": gr.Textbox(visible="hidden", elem_id="px-pick", show_label=False),
        "second": gr.Checkbox(visible="hidden", show_label=False),
    }
    with gr.Column(visible=False, elem_classes="px-card", elem_id="px-items") as box:
        fragment("<h2>The answers behind it</h2>")
        with gr.Row(elem_classes="px-row px-end"):
            parts["which"] = gr.Radio(WHICH_CHOICES, value="all", label="Show", elem_id="px-which")
            parts["text"] = gr.Textbox(
                label="Search",
                placeholder="Words in question or answers",
                max_lines=1,
                elem_id="px-items-search",
                min_width=200,
            )
            parts["page"] = gr.Number(
                1, label="Page", precision=0, elem_id="px-items-page", min_width=90
            )
        parts["different"] = gr.Checkbox(
            False,
            label="Only answers that differ from neutral",
            elem_id="px-different",
            container=False,
        )
        parts["panel"] = fragment(elem_id="px-items-panel")
    return Points(box=box, **parts)


@dataclass(frozen=True)
class PointHandlers:
    """The listeners that show items."""

    figure_handlers: FigureHandlers
    points: Points

    def _choose(self, pick: str, second: bool) -> Updates:
        return {self.points.pick: pick, self.points.second: second, self.points.page: 1}

    def click(self, event: gr.EventData) -> Updates:
        """Choose the point that was clicked."""
        return self._choose(str(event.pick or "")[:4_000], bool(event.second))

    def row(self, event: gr.SelectData, study_id: str, *values: Any) -> Updates:
        """Choose the point of a row of the numbers."""
        try:
            found = self.figure_handlers.result(study_id, *values)
        except PrismError:
            return gr.skip()
        place = event.index[0] if isinstance(event.index, list | tuple) else event.index
        shown = shown_table(found.data).astype(str).to_numpy().tolist()
        # The page may have sorted the table: the row's own values say which one it is.
        wanted = [str(v) for v in event.row_value or []]
        place = shown.index(wanted) if wanted in shown else place
        return self._choose(found.picks[place] if 0 <= place < len(found.picks) else "", False)

    def forget(self) -> Updates:
        """Choose no point."""
        return self._choose("", False)

    def show(
        self,
        study_id: str,
        other_id: str,
        pick: str,
        second: bool,
        which: str,
        text: str,
        different: bool,
        page: object,
        *filters: Any,
    ) -> Updates:
        """Show the items behind the chosen point."""
        box, panel = self.points.box, self.points.panel
        if not pick:
            return {box: gr.Column(visible=False), panel: ""}
        try:
            opened = self.figure_handlers.find(other_id if second else study_id)
            chosen = read_pick(pick)
            wanted = ItemFilter(
                next((w for w in WHICH if w == which), "all"), str(text or ""), bool(different)
            )
            number = read_whole("Page", page, 1)
            view = make_view(opened.grid, filters_of(filters))
            found = item_page(opened, view, chosen, wanted, number)
            shown = items_panel(found, describe(chosen), is_neutral=chosen.arm == "neutral")
        except PrismError as error:
            shown = notice("info" if isinstance(error, InputError) else "error", str(error))
        return {box: gr.Column(visible=True), panel: shown}


def wire_points(handlers: PointHandlers, figures: Figures, bar: StudyBar) -> None:
    """Connect clicks, keys and the panel's own controls."""
    points = handlers.points
    chosen = [points.pick, points.second, points.page]
    latest = {**QUIET, "trigger_mode": "always_last"}
    filters = list(figures.filters.values())
    where = [bar.study_id, bar.other, points.pick, points.second]
    show: dict[str, Any] = {
        "fn": handlers.show,
        "inputs": [*where, *points.controls, *filters],
        "outputs": [points.box, points.panel],
    }
    first, second = figures.first.numbers, figures.second.numbers
    for event in (
        figures.bridge.click(handlers.click, None, chosen, **latest),
        first.select(handlers.row, [bar.study_id, *figures.options], chosen, **latest),
        second.select(handlers.row, [bar.other, *figures.options], chosen, **latest).then(
            lambda: True, None, points.second, **QUIET
        ),
    ):
        then_script(event.then(**show, **QUIET), "() => window.prism.reveal('#px-items')")
    narrowed = [points.which.input, points.text.change, points.different.input, points.page.input]
    gr.on(narrowed, **show, **latest)
    # A filter or another study may leave nothing behind the point: show what is left.
    gr.on([one.change for one in filters], **show, **latest)
    bar.study_id.change(handlers.forget, None, chosen, **QUIET).then(**show, **QUIET)
