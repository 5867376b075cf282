"""The Study tab: choose, see what it costs and what it can show, start, watch, go and explore."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.common.persona_choices import merge_personas
from app.common.run_start import MeasuredStarter, check_unfinished, wire_measuring
from app.common.run_watch import wire_controls
from app.common.shared import QUIET, Shared
from app.common.text import notice
from app.services.speed_probes import machine_sentence
from app.services.visitor import read_visitor
from app.study.composer import YAML, StudyForm, build_study_form, study_personas
from app.study.form import STUDY_FIELDS, check_size, study_of, study_of_yaml
from app.study.views import study_plan_panel
from app.study.watch import StudyWatch, StudyWatcher, build_study_watch
from prism_core.errors import PrismError
from prism_core.models.sources import REMOTE, resolve
from prism_core.personas.library import load_personas
from prism_core.study.plan import plan_study
from prism_core.study.resolve import find_adapter
from prism_core.study.spec import StudySpec, to_yaml
from prism_core.utils.plain_yaml import MAX_YAML_CHARACTERS


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    library = load_personas()
    form = build_study_form(shared.settings, library, _adapter_choices(shared, None))
    watch = build_study_watch()
    starter = StudyStarter(shared, library)
    watcher = StudyWatcher(shared.store, shared.jobs)
    _wire_form(shared, form, starter, tab)
    _wire_watch(shared, tab, form, watch, starter, watcher)
    # The page does an event's listeners one after another, so what takes long comes last.
    wire_measuring(starter, tab, form, shared.personas_state)


def _adapter_choices(shared: Shared, owner: str | None) -> list[tuple[str, str]]:
    return [(entry.title, entry.id) for entry in shared.shelf.entries(owner)]


@dataclass(frozen=True)
class StudyStarter(MeasuredStarter[StudySpec]):
    """The listeners that check, estimate and start."""

    kind = "study"

    def spec(self, *values: Any) -> StudySpec:
        """See `RunStarter.spec`; the form's own text of a spec, or its fields."""
        own, mode, text, *rest = values
        if mode == YAML:
            return study_of_yaml(text, self.shared.settings)
        personas = merge_personas(self.library, own)
        fields = dict(zip(STUDY_FIELDS, rest, strict=True))
        return study_of(fields, personas, self.library, self.shared.settings)

    def model(self, spec: StudySpec) -> str:
        """See `MeasuredStarter.model`."""
        return spec.models[0]

    def chosen_model(self, *values: Any) -> str:
        """See `MeasuredStarter.chosen_model`."""
        try:
            return self.spec(*values).models[0]
        except PrismError:
            return ""

    def panel(self, spec: StudySpec) -> str:
        """See `MeasuredStarter.panel`."""
        probe = self.shared.probes.known(spec.models[0])
        plan = plan_study(spec, probe)
        check_size(plan, self.shared.settings)
        busy = self.shared.probes.was_busy(spec.models[0])
        return study_plan_panel(plan, machine_sentence(probe, busy) if probe is not None else "")

    def write_yaml(self, own: object, *values: Any) -> tuple[Any, str]:
        """The form's study as YAML; gives (spec, status)."""
        try:
            return to_yaml(self.spec(own, "form", *values[1:])), ""
        except PrismError as error:
            return gr.skip(), notice("error", str(error))

    def check(self, spec: StudySpec, owner: str) -> None:
        """See `RunStarter.check`."""
        check_size(plan_study(spec), self.shared.settings)
        for model in spec.models:
            if not model.startswith(REMOTE):
                resolve(model)
        for arm in spec.adapters:
            find_adapter(arm.reference, self.shared.store, owner)
        check_unfinished(self.shared.store, owner, self.shared.settings.max_unfinished, "study")


def _read_spec(path: str | None) -> tuple[Any, str]:
    """An uploaded spec's text; gives (spec, status)."""
    try:
        data = Path(path or "").read_bytes()[: 4 * MAX_YAML_CHARACTERS]
        return data.decode("utf-8"), ""
    except (OSError, UnicodeDecodeError):
        return gr.skip(), notice("error", "This file is no text in UTF-8, so it is no spec.")


def _wire_form(shared: Shared, form: StudyForm, starter: StudyStarter, tab: gr.Tab) -> None:
    own = shared.personas_state
    inputs = [own, *form.fields]
    plan = [form.plan, form.measure]
    quiet = {**QUIET, "trigger_mode": "always_last"}
    edits = [field.change for field in form.fields]  # type: ignore[attr-defined]
    gr.on(edits, starter.plan, inputs, plan, **quiet)
    gr.on(edits, None, None, form.status, js="() => ''", api_visibility="private")
    # The plan at once; the measuring waits for its turn at the model.
    tab.select(starter.plan, inputs, plan, **QUIET)
    form.mode.input(
        lambda mode: (gr.Column(visible=mode != YAML), gr.Column(visible=mode == YAML)),
        form.mode,
        [form.form_box, form.yaml_box],
        **QUIET,
    )
    form.yaml_fill.click(starter.write_yaml, inputs, [form.yaml, form.status], **QUIET)
    form.yaml_file.upload(_read_spec, form.yaml_file, [form.yaml, form.status], **QUIET)
    form.by_name["judge"].change(  # type: ignore[attr-defined]
        lambda judge: gr.CheckboxGroup(visible=bool(judge)),
        form.by_name["judge"],
        form.by_name["judgements"],
        **QUIET,
    )

    def offered(stored: object, owner: object, people: object, chosen: object) -> list[Any]:
        personas = merge_personas(starter.library, stored)
        kept = [n for n in people if n in personas] if isinstance(people, list) else []
        adapters = _adapter_choices(shared, read_visitor(owner))
        ids = [value for _, value in adapters]
        still = [a for a in chosen if a in ids] if isinstance(chosen, list) else []
        return [
            gr.Dropdown(study_personas(personas, starter.library), value=kept),
            gr.Dropdown(adapters, value=still),
        ]

    picks = [form.by_name["personas"], form.by_name["adapters"]]
    tab.select(offered, [own, shared.visitor_state, *picks], picks, **QUIET)


def _wire_watch(
    shared: Shared,
    tab: gr.Tab,
    form: StudyForm,
    watch: StudyWatch,
    starter: StudyStarter,
    watcher: StudyWatcher,
) -> None:
    started = form.start.click(
        starter.start,
        [shared.visitor_state, shared.personas_state, *form.fields],
        [form.status, watch.run_id, form.fold],
        **QUIET,
    )
    wire_controls(shared, tab, watch, watcher, form.fold, started)
    watch.explore.click(shared.explore, watch.run_id, [shared.explored, shared.tabs], **QUIET)
