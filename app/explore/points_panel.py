"""The items behind a clicked point: side by side, flips first, with a search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app.common.form_values import read_whole
from app.common.shared import QUIET, fragment
from app.common.text import notice
from app.explore.bar import StudyBar, StudyBarHandlers
from app.explore.figures_panel import FigureHandlers, Figures
from app.explore.form import filters_of
from app.explore.items import WHICH, ItemFilter, item_page
from app.explore.views import items_panel, shown_table
from prism_core.analysis import Pick, make_view, read_pick
from prism_core.analysis.domains import title_of
from prism_core.errors import InputError, PrismError
from prism_core.figures.colours import ARM_TITLES

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

    librarian: StudyBarHandlers
    painter: FigureHandlers

    def click(self, event: gr.EventData) -> list[Any]:
        """A point was clicked; gives (pick, second, page)."""
        return [str(event.pick or "")[:4_000], bool(event.second), 1]

    def row(self, event: gr.SelectData, study_id: str, *values: Any) -> list[Any]:
        """A row of the numbers was chosen; gives (pick, second, page)."""
        try:
            found = self.painter.result(study_id, *values)
        except PrismError:
            return [gr.skip()] * 3
        place = event.index[0] if isinstance(event.index, list | tuple) else event.index
        shown = shown_table(found.data).astype(str).to_numpy().tolist()
        # The page may have sorted the table: the row's own values say which one it is.
        wanted = [str(v) for v in event.row_value or []]
        place = shown.index(wanted) if wanted in shown else place
        picks = found.picks
        return [picks[place] if 0 <= place < len(picks) else "", False, 1]

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
    ) -> list[Any]:
        """The items behind the chosen point; gives (box, panel)."""
        if not pick:
            return [gr.Column(visible=False), ""]
        try:
            opened = self.librarian.find(other_id if second else study_id)
            chosen = read_pick(pick)
            wanted = ItemFilter(
                next((w for w in WHICH if w == which), "all"), str(text or ""), bool(different)
            )
            number = read_whole("Page", page, 1)
            view = make_view(opened.grid, filters_of(filters))
            found = item_page(opened, view, chosen, wanted, number)
        except InputError as error:
            return [gr.Column(visible=True), notice("info", str(error))]
        except PrismError as error:
            return [gr.Column(visible=True), notice("error", str(error))]
        panel = items_panel(found, describe(chosen), is_neutral=chosen.arm == "neutral")
        return [gr.Column(visible=True), panel]


def describe(pick: Pick) -> str:
    """A pick in words: `Math · persona · long text`."""
    parts = [title_of(pick.category) if pick.category else "All categories"]
    rest = replace(pick, category="")
    if pick.persona:
        parts.append(title_of(pick.persona))
    elif pick.own:
        parts.append("own expert")
    elif pick.adapter or (pick.arm == "adapter" and pick.cell):
        parts.append(pick.adapter or pick.cell)
    elif pick.arm:
        parts.append(ARM_TITLES.get(pick.arm, pick.arm))
    if pick.length:
        parts.append(f"{pick.length} text")
    if pick.placement:
        parts.append(f"{pick.placement} turn")
    if rest.model:
        parts.append(rest.model)
    return " · ".join(parts)


def wire_points(
    points: Points,
    figures: Figures,
    bar: StudyBar,
    librarian: StudyBarHandlers,
    painter: FigureHandlers,
) -> None:
    """Connect clicks, keys and the panel's own controls."""
    reader = PointHandlers(librarian, painter)
    chosen = [points.pick, points.second, points.page]
    inputs = [
        bar.study_id,
        bar.other,
        points.pick,
        points.second,
        *points.controls,
        *figures.filters,
    ]
    shown = [points.box, points.panel]
    quiet = {**QUIET, "trigger_mode": "always_last"}
    drawn = [bar.study_id, *figures.options]
    events = [
        figures.bridge.click(reader.click, None, chosen, **quiet),
        figures.numbers.select(reader.row, drawn, chosen, **quiet),
    ]
    second = figures.second_numbers.select(
        reader.row, [bar.other, *figures.options], chosen, **quiet
    ).then(lambda: True, None, points.second, **QUIET)
    for event in (*events, second):
        event.then(reader.show, inputs, shown, **QUIET).then(
            None, None, None, js="() => window.prism.reveal('#px-items')", api_visibility="private"
        )
    gr.on(
        [points.which.input, points.text.change, points.different.input, points.page.input],
        reader.show,
        inputs,
        shown,
        **quiet,
    )
    # A filter or another study may leave nothing behind the point: show what is left.
    gr.on([one.change for one in figures.filters], reader.show, inputs, shown, **quiet)
    bar.study_id.change(lambda: ["", False, 1], None, chosen, **QUIET).then(
        reader.show, inputs, shown, **QUIET
    )
