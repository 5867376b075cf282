"""The Train tab: choose, see what will happen, start, watch, look at what was found, keep it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import psutil

from app.common.persona_choices import merge_personas, persona_choices
from app.common.run_start import MeasuredStarter, check_unfinished, wire_measuring
from app.common.run_watch import wire_controls
from app.common.shared import QUIET, Shared
from app.services.speed_probes import machine_sentence
from app.train.composer import TrainForm, build_form, form_values, preset_changes
from app.train.form import spec_of
from app.train.results_panel import ResultHandlers, Results, build_results
from app.train.shelf_panel import build_shelf, wire_shelf
from app.train.story import FindingsBook
from app.train.views.plan import plan_panel
from app.train.watch import TrainWatch, TrainWatcher, build_watch
from prism_core.errors import PrismError
from prism_core.models.remote import from_environment
from prism_core.models.sources import resolve
from prism_core.personas.library import load_personas
from prism_core.prism.demo import demo_queries
from prism_core.prism.forecast import forecast_training
from prism_core.prism.spec import TrainSpec


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    library = load_personas()
    form = build_form(shared.settings, library)
    watch = build_watch()
    results = build_results()
    shelf = build_shelf()
    starter = TrainStarter(shared, library)
    watcher = TrainWatcher(shared.store, shared.jobs, library)
    reader = ResultHandlers(shared.store, shared.shelf, FindingsBook(shared.store), library)
    _wire_form(shared, form, starter, tab)
    _wire_watch(shared, tab, form, watch, starter, watcher)
    _wire_results(shared, watch, results, reader)
    wire_shelf(shelf, shared, tab, watch.mark)
    # The page does an event's listeners one after another, so what takes long comes last.
    wire_measuring(starter, tab, form, shared.personas_state)


@dataclass(frozen=True)
class TrainStarter(MeasuredStarter[TrainSpec]):
    """The listeners that check, estimate and start."""

    kind = "train"

    def spec(self, *values: Any) -> TrainSpec:
        """See `RunStarter.spec`; the visitor's own personas come before the fields."""
        own, *rest = values
        chosen, fields = form_values(tuple(rest))
        personas = merge_personas(self.library, own)
        return spec_of(fields, chosen, personas, self.library, self.shared.settings)

    def model(self, spec: TrainSpec) -> str:
        """See `MeasuredStarter.model`."""
        return spec.model

    def chosen_model(self, *values: Any) -> str:
        """See `MeasuredStarter.chosen_model`."""
        _, fields = form_values(values[1:])
        return str(fields.get("model") or "")

    def panel(self, spec: TrainSpec) -> str:
        """See `MeasuredStarter.panel`."""
        probe = self.shared.probes.known(spec.model)
        number = len(demo_queries()) if spec.preset == "demo" else None
        estimate = forecast_training(spec, probe, queries=number)
        busy = self.shared.probes.was_busy(spec.model)
        machine = machine_sentence(probe, busy) if probe is not None else ""
        return plan_panel(estimate, machine, int(psutil.virtual_memory().available))

    def preset(self, preset: str, model: str) -> list[Any]:
        """Fill the form in; gives (note, persona part, *fields)."""
        try:
            return preset_changes(preset, model, self.shared.settings)
        except PrismError:
            return [gr.skip()] * 2

    def check(self, spec: TrainSpec, owner: str) -> None:
        """See `RunStarter.check`."""
        resolve(spec.model)
        if spec.judge == "remote":
            from_environment(spec.remote_model)
        check_unfinished(self.shared.store, owner, self.shared.settings.max_unfinished)


def _wire_form(shared: Shared, form: TrainForm, starter: TrainStarter, tab: gr.Tab) -> None:
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
    # The plan at once; the measuring waits for its turn at the model.
    tab.select(starter.plan, inputs, plan, **QUIET)
    judge.change(  # type: ignore[attr-defined]
        lambda name: gr.Textbox(visible=name == "remote"),
        judge,
        form.by_name["remote_model"],
        **QUIET,
    )

    def offered(stored: object, picked: object) -> Any:
        personas = merge_personas(starter.library, stored)
        kept = [n for n in picked if n in personas] if isinstance(picked, list) else []
        return gr.Dropdown(persona_choices(personas, starter.library), value=kept)

    tab.select(offered, [own, form.personas], form.personas, **QUIET)


def _wire_watch(
    shared: Shared,
    tab: gr.Tab,
    form: TrainForm,
    watch: TrainWatch,
    starter: TrainStarter,
    watcher: TrainWatcher,
) -> None:
    started = form.start.click(
        starter.start,
        [shared.visitor_state, shared.personas_state, *form.fields],
        [form.status, watch.run_id, form.fold],
        **QUIET,
    )
    wire_controls(shared, tab, watch, watcher, form.fold, started)


def _wire_results(
    shared: Shared, watch: TrainWatch, results: Results, reader: ResultHandlers
) -> None:
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
