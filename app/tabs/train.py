"""The Train tab: choose, see what will happen, start, watch, look at what was found, keep it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
import psutil

from app.findings import FindingsBook
from app.probes import ProbeBook, machine_sentence
from app.shared import MODEL_QUEUE, Shared
from app.state import merge_personas
from app.tabs.compare_compose import persona_choices
from app.tabs.train_adapters import build_shelf, wire_shelf
from app.tabs.train_compose import (
    MEASURE,
    MEASURE_AGAIN,
    TrainForm,
    build_form,
    form_values,
    preset_changes,
)
from app.tabs.train_results import Reader, Results, build_results
from app.tabs.train_watch import Watch, Watcher, build_watch
from app.train_form import limits_of, spec_of
from app.views.text import loading, notice
from app.views.train_plan import plan_panel
from app.visitor import need_visitor, new_visitor, read_visitor
from prism_core.demo import demo_queries
from prism_core.errors import InputError, PrismError
from prism_core.estimate import estimate_training
from prism_core.personas import load_personas
from prism_core.remote import from_environment
from prism_core.sources import resolve
from prism_core.storage import pack
from prism_core.train_spec import TrainSpec
from prism_core.types import Persona

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    library = load_personas()
    form = build_form(shared.settings, library)
    watch = build_watch()
    results = build_results()
    shelf = build_shelf()
    starter = Starter(shared, library, shared.probes)
    watcher = Watcher(shared.store, shared.jobs, library)
    reader = Reader(shared.store, shared.shelf, FindingsBook(shared.store), watcher)
    _wire_form(shared, form, starter, tab)
    _wire_watch(shared, form, watch, starter, watcher)
    _wire_results(shared, watch, results, reader)
    wire_shelf(shelf, shared, watch.mark)


@dataclass(frozen=True)
class Starter:
    """The listeners that check, estimate and start."""

    shared: Shared
    library: Mapping[str, Persona]
    probes: ProbeBook

    def spec(self, own: object, values: tuple[Any, ...]) -> TrainSpec:
        """The run that the form describes.

        Raises:
            InputError, NotFoundError: a value is not allowed.
        """
        chosen, fields = form_values(values)
        personas = merge_personas(self.library, own)
        return spec_of(fields, chosen, personas, self.library, self.shared.settings)

    def plan(self, own: object, *values: Any) -> tuple[str, Any]:
        """What the run will do; gives (plan, measure button)."""
        try:
            spec = self.spec(own, values)
            return self._panel(spec), self._button(spec.model)
        except PrismError as error:
            return notice("warn", str(error)), gr.Button(visible=False)

    def measure(self, own: object, *values: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Measure the machine; yields (plan, measure button, what is being measured)."""
        try:
            spec = self.spec(own, values)
            self.probes.forget(spec.model)
            news = self.probes.measure(spec.model)
            while True:
                try:
                    report = next(news)
                except StopIteration:
                    break
                line = report.note[:1].upper() + report.note[1:] + "…"
                busy = loading(line, report.done, report.total)
                yield gr.skip(), gr.Button(visible=False), busy
            yield self._panel(spec), self._button(spec.model), ""
        except PrismError as error:
            yield gr.skip(), gr.Button(visible=True), notice("error", str(error))

    def measure_if_ready(self, own: object, *values: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Measure when the tab is opened, unless a model would have to be loaded first."""
        _, fields = form_values(values)
        model = str(fields.get("model") or "")
        ready = model == self.shared.settings.default_model or self.probes.is_ready(model)
        if not ready or self.probes.known(model) is not None:
            yield *self.plan(own, *values), ""
            return
        yield from self.measure(own, *values)

    def preset(self, preset: str, model: str) -> list[Any]:
        """Fill the form in; gives (note, persona part, *fields)."""
        try:
            return preset_changes(preset, model, self.shared.settings)
        except PrismError:
            return [gr.skip()] * 2

    def start(self, visitor: object, own: object, *values: Any) -> tuple[str, Any, Any]:
        """Put the run in the queue; gives (status, run id, set-up)."""
        try:
            owner = need_visitor(visitor)
            spec = self.spec(own, values)
            resolve(spec.model)
            if spec.judge == "remote":
                from_environment(spec.remote_model)
            self._check_unfinished(owner)
            run_id = self.shared.jobs.submit("train", spec.name, pack(spec), owner)
        except PrismError as error:
            return notice("error", str(error)), gr.skip(), gr.skip()
        return "", run_id, gr.Accordion(open=False)

    def _button(self, model: str) -> Any:
        again = self.probes.known(model) is not None
        return gr.Button(MEASURE_AGAIN if again else MEASURE, visible=True)

    def _panel(self, spec: TrainSpec) -> str:
        probe = self.probes.known(spec.model)
        number = len(demo_queries()) if spec.preset == "demo" else None
        estimate = estimate_training(spec, probe, queries=number)
        busy = self.probes.was_busy(spec.model)
        machine = machine_sentence(probe, busy) if probe is not None else ""
        return plan_panel(estimate, machine, int(psutil.virtual_memory().available))

    def _check_unfinished(self, owner: str) -> None:
        most = limits_of(self.shared.settings).unfinished
        waiting = ["queued", "running", "cancelling"]
        if len(self.shared.store.list_runs(owner, statuses=waiting)) >= most:
            raise InputError(
                f"You have {most} unfinished runs already. Wait for one to end, or cancel it."
            )


def _wire_form(shared: Shared, form: TrainForm, starter: Starter, tab: gr.Tab) -> None:
    own = shared.personas_state
    inputs = [own, *form.fields]
    plan = [form.plan, form.measure]
    preset, model, judge = (form.by_name[n] for n in ("preset", "model", "judge"))
    chosen = preset.input(  # type: ignore[attr-defined]
        starter.preset, [preset, model], [form.note, form.people, *form.fields], **QUIET
    )
    others = [c for c in form.fields if c is not preset and c is not form.personas]
    # Emptying the list is no `input`, and neither is what is pasted into a text or rubbed out.
    edits = [c.change if isinstance(c, gr.Textbox) else c.input for c in others]  # type: ignore[attr-defined]
    edits.append(form.personas.change)
    # The page does an event's listeners one after another: what clears an old refusal comes before
    # the plan, or it would clear the answer to a click on Start as well.
    gr.on(edits, None, None, form.status, js="() => ''", api_visibility="private")
    gr.on(edits, starter.plan, inputs, plan, trigger_mode="always_last", **QUIET)
    chosen.then(starter.plan, inputs, plan, **QUIET)
    gr.on([shared.page.load, own.change], starter.plan, inputs, plan, **QUIET)
    judge.change(  # type: ignore[attr-defined]
        lambda name: gr.Textbox(visible=name == "remote"),
        judge,
        form.by_name["remote_model"],
        **QUIET,
    )
    for event, listener in (
        (form.measure.click, starter.measure),
        (tab.select, starter.measure_if_ready),
    ):
        event(
            listener,
            inputs,
            [*plan, form.measuring],
            concurrency_id=MODEL_QUEUE,
            concurrency_limit=1,
            show_progress="hidden",
            api_visibility="private",
        )

    def offered(stored: object, picked: object) -> Any:
        personas = merge_personas(starter.library, stored)
        kept = [n for n in picked if n in personas] if isinstance(picked, list) else []
        return gr.Dropdown(persona_choices(personas, starter.library), value=kept)

    own.change(offered, [own, form.personas], form.personas, **QUIET)


def _wire_watch(
    shared: Shared, form: TrainForm, watch: Watch, starter: Starter, watcher: Watcher
) -> None:
    visitor = shared.visitor_state
    looking = [watch.run_id, visitor, watch.seen]

    def known(stored: object) -> Any:
        return gr.skip() if read_visitor(stored) else new_visitor()

    shared.page.load(known, visitor, visitor, **QUIET)
    gr.on(
        [shared.page.load, visitor.change],
        watcher.arrive,
        [watch.run_id, visitor],
        [watch.run_id, watch.runs, shared.tabs, form.fold],
        **QUIET,
    )
    gr.on(
        [watch.run_id.change, watch.timer.tick],
        watcher.look,
        looking,
        watch.outputs,
        **QUIET,
    )
    started = form.start.click(
        starter.start,
        [visitor, shared.personas_state, *form.fields],
        [form.status, watch.run_id, form.fold],
        **QUIET,
    )
    started.then(watcher.choices, [visitor, watch.run_id], watch.runs, **QUIET)
    started.then(
        None, watch.run_id, None, js="(id) => window.prism.showRun(id)", api_visibility="private"
    )
    watch.runs.input(lambda run: run or "", watch.runs, watch.run_id, **QUIET).then(
        None, watch.run_id, None, js="(id) => window.prism.showRun(id)", api_visibility="private"
    )
    for button, listener in ((watch.cancel, watcher.cancel), (watch.resume, watcher.resume)):
        button.click(listener, [watch.run_id, visitor], watch.status, **QUIET).then(
            watcher.look, looking, watch.outputs, **QUIET
        )
    watch.delete.click(lambda: gr.Row(visible=True), None, watch.confirm, **QUIET)
    watch.confirm_keep.click(lambda: gr.Row(visible=False), None, watch.confirm, **QUIET)
    watch.confirm_delete.click(
        watcher.delete,
        [watch.run_id, visitor],
        [watch.status, watch.confirm, watch.run_id, watch.runs],
        **QUIET,
    )


def _wire_results(shared: Shared, watch: Watch, results: Results, reader: Reader) -> None:
    mark = watch.mark
    # Filters are read once the findings are there: a visitor may have chosen some meanwhile.
    mark.change(
        reader.load, [mark, shared.visitor_state, results.persona], results.outputs, **QUIET
    ).then(reader.pairs, [mark, *results.filters], results.pairs, **QUIET)
    gr.on(
        [results.persona.input, results.route.input, results.text.change, results.page.input],
        reader.pairs,
        [mark, *results.filters],
        results.pairs,
        trigger_mode="always_last",
        **QUIET,
    )
    gr.on(
        [results.threshold.input, results.threshold.release],
        reader.at,
        [mark, results.threshold],
        [results.roc, results.pr, results.at_threshold],
        trigger_mode="always_last",
        **QUIET,
    )
    results.save.click(
        reader.save,
        [watch.run_id, shared.visitor_state, results.threshold],
        results.save_status,
        **QUIET,
    )
    results.try_it.click(shared.offer, watch.run_id, [shared.tried, shared.tabs], **QUIET)
