"""What a run has found: questions with both answers, the judge, the gate, the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from app.common.form_values import read_number, read_whole
from app.common.run_watch import find_run
from app.common.shared import QUIET, Shared, Updates, fragment, typed_slider
from app.common.text import notice
from app.services.adapter_shelf import AdapterShelf
from app.services.visitor import need_visitor, read_visitor
from app.train.story import Findings, PairFilter, read_findings, spec_of_run, titles_of
from app.train.views.charts import calibration_figure, pr_figure, roc_figure
from app.train.views.results import (
    PAGE,
    ROUTE_NAMES,
    comparison_frame,
    comparison_notes,
    distill_panel,
    gate_summary,
    judge_panel,
    pairs_panel,
    persona_frame,
    threshold_panel,
)
from app.train.watch import TrainWatch
from prism_core.errors import InputError, PrismError
from prism_core.prism.gating.report import GateReport
from prism_core.prism.gating.settings import PAPER_THRESHOLD
from prism_core.storage import RunRow, Store
from prism_core.types import Persona
from prism_core.utils.lru import LRU

ROUTES = [("All", ""), ("Distil", "distill"), ("Retain", "retain")]


@dataclass(frozen=True)
class Results:
    """The components of the findings."""

    box: gr.Column
    persona: gr.Dropdown
    route: gr.Radio
    text: gr.Textbox
    page: gr.Number
    pairs: gr.HTML
    judge: gr.HTML
    gate_note: gr.HTML
    gate_box: gr.Column
    roc: gr.Plot
    pr: gr.Plot
    calibration: gr.Plot
    threshold: gr.Slider
    at_threshold: gr.HTML
    save: gr.Button
    save_status: gr.HTML
    by_persona: gr.Dataframe
    distil: gr.HTML
    comparison_note: gr.HTML
    comparison: gr.Dataframe
    try_it: gr.Button

    @property
    def filters(self) -> list[Any]:
        """What narrows the questions."""
        return [self.persona, self.route, self.text, self.page]

    @property
    def threshold_outputs(self) -> list[Any]:
        """What another threshold changes."""
        return [self.roc, self.pr, self.at_threshold]

    @property
    def outputs(self) -> list[Any]:
        """What another run, or more findings, change."""
        gate = [self.gate_note, self.gate_box, self.threshold, *self.threshold_outputs]
        gate += [self.calibration, self.save, self.by_persona]
        rest = [self.judge, self.distil, self.comparison_note, self.comparison, self.try_it]
        return [self.box, self.persona, *gate, *rest]


def build_results() -> Results:
    """Lay the findings out; they are hidden until something was judged."""
    parts: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="px-results", elem_classes="px-card") as box:
        with gr.Row(elem_classes="px-actions"):
            fragment("<h2>What it found</h2>")
            parts["try_it"] = gr.Button(
                "Try it in Compare", variant="primary", visible=False, scale=0, elem_id="px-try-it"
            )
        with gr.Tabs(elem_classes="px-subtabs", elem_id="px-results-tabs"):
            with gr.Tab("Questions"):
                parts |= _questions()
            with gr.Tab("Judge"):
                parts["judge"] = fragment(elem_id="px-judge-check")
            with gr.Tab("Gate"):
                parts |= _gate()
            with gr.Tab("Distillation"):
                parts["distil"] = fragment(elem_id="px-distil")
            with gr.Tab("Comparison"):
                parts["comparison_note"] = fragment(elem_id="px-comparison-note")
                parts["comparison"] = gr.Dataframe(
                    interactive=False,
                    visible=False,
                    wrap=False,
                    buttons=["copy"],
                    show_label=False,
                    elem_id="px-comparison",
                    elem_classes="px-frame",
                )
    return Results(box=box, **parts)


def _questions() -> dict[str, Any]:
    with gr.Row(elem_classes="px-row"):
        persona = gr.Dropdown(
            [("All personas", "")], value="", label="Persona", elem_id="px-f-persona"
        )
        route = gr.Radio(ROUTES, value="", label="Route", elem_id="px-f-route")
        text = gr.Textbox(
            label="Search",
            placeholder="Words in question or answers",
            max_lines=1,
            elem_id="px-f-text",
        )
        page = gr.Number(1, label="Page", precision=0, elem_id="px-f-page", min_width=90)
    pairs = fragment(elem_id="px-pairs")
    return {"persona": persona, "route": route, "text": text, "page": page, "pairs": pairs}


def _gate() -> dict[str, Any]:
    parts: dict[str, Any] = {"gate_note": fragment(elem_id="px-gate-note")}
    with gr.Column(visible=False) as box:
        with gr.Row(elem_classes="px-row px-plots"):
            parts["roc"] = gr.Plot(show_label=False, elem_id="px-roc", min_width=280)
            parts["pr"] = gr.Plot(show_label=False, elem_id="px-pr", min_width=280)
            parts["calibration"] = gr.Plot(show_label=False, elem_id="px-cal", min_width=280)
        with gr.Row(elem_classes="px-row px-end"):
            parts["threshold"] = typed_slider(
                0,
                1,
                value=PAPER_THRESHOLD,
                step=0.01,
                label="Threshold: the gate opens from this probability on",
                info="0.5 is the paper's.",
                elem_id="px-threshold",
            )
            parts["save"] = gr.Button(
                "Save into the adapter", visible=False, scale=0, elem_id="px-threshold-save"
            )
        parts["save_status"] = fragment(elem_id="px-threshold-status")
        parts["at_threshold"] = fragment(elem_id="px-at-threshold")
        fragment(
            "<h3>By persona</h3><p class='px-help'>On questions that the gate that scored "
            "them had not seen.</p>"
        )
        parts["by_persona"] = gr.Dataframe(
            interactive=False, show_label=False, buttons=[], elem_classes="px-frame"
        )
    parts["gate_box"] = box
    return parts


@dataclass(frozen=True)
class ResultHandlers:
    """The listeners that show findings."""

    store: Store
    shelf: AdapterShelf
    library: Mapping[str, Persona]
    results: Results
    found: LRU[str, Findings] = field(default_factory=lambda: LRU(4))
    """What was looked at last, by its mark, so that a filter need not read the store."""

    def load(self, mark: str, stored: object, persona: object) -> Updates:
        """Show everything that the run has found but the questions.

        A persona that the questions are narrowed to stays, as long as the run has it.
        """
        results = self.results
        # The slider is always given a value: see `typed_slider`.
        hidden = {results.box: gr.Column(visible=False), results.threshold: PAPER_THRESHOLD}
        try:
            run, found = self._find(mark)
            if run is None or not found.judged:
                return hidden
            titles = titles_of(spec_of_run(run), self.library)
            adapter = self._has_adapter(run, stored)
        except PrismError:
            return hidden
        names = list(dict.fromkeys(j.pair.query.persona for j in found.judged))
        choices = [("All personas", ""), *((titles.get(n, n), n) for n in names)]
        updates: Updates = {
            results.box: gr.Column(visible=True),
            results.persona: gr.Dropdown(choices, value=persona if persona in names else ""),
            results.judge: judge_panel(found),
            **self._gate(found.gate, run, adapter),
            results.distil: distill_panel(found),
            results.comparison_note: notice("info", "The comparison has not been made."),
            results.try_it: gr.Button(visible=adapter),
        }
        if found.gate is not None:
            updates[results.by_persona] = persona_frame(found.gate, titles)
        if found.table is not None:
            updates[results.comparison_note] = comparison_notes(found.table)
            frame = gr.Dataframe(comparison_frame(found.table), visible=True)
            updates[results.comparison] = frame
        return updates

    def pairs(self, mark: str, persona: str, route: str, text: str, page: object) -> Updates:
        """Show one page of the judged questions."""
        return {self.results.pairs: self._pairs(mark, persona, route, text, page)}

    def _pairs(self, mark: str, persona: str, route: str, text: str, page: object) -> str:
        try:
            run, found = self._find(mark)
            wished = read_whole("Page", page, 1)
        except InputError as error:
            return notice("info", str(error))
        except PrismError as error:
            return notice("error", str(error))
        if run is None:
            return ""
        chosen = next((name for name in ROUTE_NAMES if name == route), None)
        wanted = PairFilter(str(persona or ""), chosen, str(text or "")[:200])
        fitting = [j for j in found.judged if wanted.takes(j)]
        last = max(1, -(-len(fitting) // PAGE))
        first = (min(wished, last) - 1) * PAGE
        titles = titles_of(spec_of_run(run), self.library)
        return pairs_panel(fitting[first : first + PAGE], first, len(fitting), titles)

    def at(self, mark: str, given: object) -> Updates:
        """Show the gate at another threshold."""
        try:
            threshold = read_number("Threshold", given, 0, 1)
            _, found = self._find(mark)
        except PrismError as error:
            return {self.results.at_threshold: notice("error", str(error))}
        return gr.skip() if found.gate is None else self._at(found.gate, threshold)

    def _at(self, gate: GateReport, threshold: float) -> Updates:
        return {
            self.results.roc: roc_figure(gate, threshold),
            self.results.pr: pr_figure(gate, threshold),
            self.results.at_threshold: threshold_panel(gate, threshold),
        }

    def save(self, run_id: str, stored: object, given: object) -> Updates:
        """Write the threshold into the adapter."""
        try:
            threshold = read_number("Threshold", given, 0, 1)
            info = self.shelf.set_threshold(run_id, need_visitor(stored), threshold)
        except PrismError as error:
            return {self.results.save_status: notice("error", str(error))}
        line = f"'{info.name}' now opens from {info.threshold:.2f} on."
        return {self.results.save_status: notice("done", line)}

    def _find(self, mark: str) -> tuple[RunRow | None, Findings]:
        run = find_run(self.store, "train", mark.split(" ")[0] or None, None)
        if run is None:
            return None, Findings()
        return run, self.found.get_or_make(mark, lambda: read_findings(self.store, run.id))

    def _has_adapter(self, run: RunRow, stored: object) -> bool:
        owner = read_visitor(stored)
        return owner == run.owner and any(e.id == run.id for e in self.shelf.entries(owner))

    def _gate(self, gate: GateReport | None, run: RunRow, adapter: bool) -> Updates:
        results = self.results
        if gate is None:
            return {
                results.gate_note: notice("info", "The gate has not been trained."),
                results.gate_box: gr.Column(visible=False),
                results.threshold: PAPER_THRESHOLD,
            }
        threshold = gate.threshold
        if adapter:
            threshold = self.shelf.entry(run.id, run.owner).info.threshold
        return {
            results.gate_note: gate_summary(gate),
            results.gate_box: gr.Column(visible=True),
            results.threshold: threshold,
            results.calibration: calibration_figure(gate),
            results.save: gr.Button(visible=adapter),
            **self._at(gate, threshold),
        }


def wire_results(
    shared: Shared, watch: TrainWatch, results: Results, library: Mapping[str, Persona]
) -> None:
    """Connect the findings to the run that is watched."""
    handlers = ResultHandlers(shared.store, shared.shelf, library, results)
    mark, latest = watch.mark, {"trigger_mode": "always_last", **QUIET}
    questions = [mark, *results.filters]
    # Filters are read once the findings are there: a visitor may have chosen some meanwhile.
    mark.change(
        handlers.load, [mark, shared.visitor_state, results.persona], results.outputs, **QUIET
    ).then(handlers.pairs, questions, results.pairs, **QUIET)
    filtered = [results.persona.input, results.route.input, results.text.change, results.page.input]
    gr.on(filtered, handlers.pairs, questions, results.pairs, **latest)
    moved = [results.threshold.input, results.threshold.release]
    asked = [mark, results.threshold]
    gr.on(moved, handlers.at, asked, results.threshold_outputs, **latest)
    who = [watch.run_id, shared.visitor_state, results.threshold]
    results.save.click(handlers.save, who, results.save_status, **QUIET)
    results.try_it.click(shared.offer, watch.run_id, [shared.tried, shared.tabs], **QUIET)
