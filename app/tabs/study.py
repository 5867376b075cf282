"""The Study tab: choose, see what it costs and what it can show, start, watch, go and explore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.probes import ProbeBook, machine_sentence
from app.shared import MODEL_QUEUE, Shared
from app.state import merge_personas
from app.study_form import (
    STUDY_FIELDS,
    check_size,
    study_limits,
    study_of,
    study_of_yaml,
)
from app.tabs.study_compose import (
    MEASURE,
    MEASURE_AGAIN,
    YAML,
    StudyForm,
    build_study_form,
    study_personas,
)
from app.tabs.study_watch import StudyWatch, StudyWatcher, build_study_watch
from app.views.study_plan import study_plan_panel
from app.views.text import loading, notice
from app.visitor import need_visitor, read_visitor
from prism_core.errors import InputError, PrismError
from prism_core.personas import load_personas
from prism_core.sources import resolve
from prism_core.storage import pack
from prism_core.study_parts import find_adapter
from prism_core.study_plan import plan_study
from prism_core.study_spec import StudySpec
from prism_core.study_yaml import MAX_YAML_CHARACTERS, to_yaml
from prism_core.types import Persona

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
SHOW = "(id) => window.prism.showStudy(id)"


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    library = load_personas()
    form = build_study_form(shared.settings, library, _adapter_choices(shared, None))
    watch = build_study_watch()
    starter = StudyStarter(shared, library, shared.probes)
    watcher = StudyWatcher(shared)
    _wire_form(shared, form, starter, tab)
    _wire_watch(shared, form, watch, starter, watcher)


def _adapter_choices(shared: Shared, owner: str | None) -> list[tuple[str, str]]:
    return [(entry.title, entry.id) for entry in shared.shelf.entries(owner)]


@dataclass(frozen=True)
class StudyStarter:
    """The listeners that check, estimate and start."""

    shared: Shared
    library: Mapping[str, Persona]
    probes: ProbeBook

    def spec(self, own: object, values: tuple[Any, ...]) -> StudySpec:
        """The study that the form, or the YAML, describes.

        Raises:
            InputError, NotFoundError: a value is not allowed.
        """
        mode, text, *rest = values
        if mode == YAML:
            return study_of_yaml(text, self.shared.settings)
        personas = merge_personas(self.library, own)
        fields = dict(zip(STUDY_FIELDS, rest, strict=True))
        return study_of(fields, personas, self.library, self.shared.settings)

    def plan(self, own: object, *values: Any) -> tuple[str, Any]:
        """What the study will do; gives (plan, measure button)."""
        try:
            spec = self.spec(own, values)
            return self._panel(spec), self._button(spec)
        except PrismError as error:
            return notice("warn", str(error)), gr.Button(visible=False)

    def measure(self, own: object, *values: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Measure the machine; yields (plan, measure button, what is being measured)."""
        try:
            spec = self.spec(own, values)
            self.probes.forget(spec.models[0])
            news = self.probes.measure(spec.models[0])
            while True:
                try:
                    report = next(news)
                except StopIteration:
                    break
                line = report.note[:1].upper() + report.note[1:] + "…"
                busy = loading(line, report.done, report.total)
                yield gr.skip(), gr.Button(visible=False), busy
            yield self._panel(spec), self._button(spec), ""
        except PrismError as error:
            yield gr.skip(), gr.Button(visible=True), notice("error", str(error))

    def measure_if_ready(self, own: object, *values: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Measure when the tab is opened, unless a model would have to be loaded first."""
        try:
            model = self.spec(own, values).models[0]
        except PrismError:
            model = ""
        ready = model == self.shared.settings.default_model or self.probes.is_ready(model)
        if not ready or self.probes.known(model) is not None:
            yield *self.plan(own, *values), ""
            return
        yield from self.measure(own, *values)

    def write_yaml(self, own: object, *values: Any) -> tuple[Any, str]:
        """The form's study as YAML; gives (spec, status)."""
        try:
            return to_yaml(self.spec(own, ("form", *values[1:]))), ""
        except PrismError as error:
            return gr.skip(), notice("error", str(error))

    def start(self, visitor: object, own: object, *values: Any) -> tuple[str, Any, Any]:
        """Put the study in the queue; gives (status, run id, set-up)."""
        try:
            owner = need_visitor(visitor)
            spec = self.spec(own, values)
            check_size(plan_study(spec), self.shared.settings)
            for model in spec.models:
                if not model.startswith("remote:"):
                    resolve(model)
            for arm in spec.adapters:
                find_adapter(arm.reference, self.shared.store, owner)
            self._check_unfinished(owner)
            run_id = self.shared.jobs.submit("study", spec.name, pack(spec), owner)
        except PrismError as error:
            return notice("error", str(error)), gr.skip(), gr.skip()
        return "", run_id, gr.Accordion(open=False)

    def _panel(self, spec: StudySpec) -> str:
        probe = self.probes.known(spec.models[0])
        plan = plan_study(spec, probe)
        check_size(plan, self.shared.settings)
        busy = self.probes.was_busy(spec.models[0])
        return study_plan_panel(plan, machine_sentence(probe, busy) if probe is not None else "")

    def _button(self, spec: StudySpec) -> Any:
        again = self.probes.known(spec.models[0]) is not None
        return gr.Button(
            MEASURE_AGAIN if again else MEASURE, visible=not spec.models[0].startswith("remote:")
        )

    def _check_unfinished(self, owner: str) -> None:
        most = study_limits(self.shared.settings).unfinished
        waiting = ["queued", "running", "cancelling"]
        if len(self.shared.store.list_runs(owner, "study", statuses=waiting)) >= most:
            raise InputError(
                f"You have {most} unfinished studies already. Wait for one to end, or cancel it."
            )


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
    gr.on([tab.select, own.change], starter.plan, inputs, plan, **QUIET)
    form.mode.input(
        lambda mode: (gr.Column(visible=mode != YAML), gr.Column(visible=mode == YAML)),
        form.mode, [form.form_box, form.yaml_box], **QUIET,
    )  # fmt: skip
    form.yaml_fill.click(starter.write_yaml, inputs, [form.yaml, form.status], **QUIET)
    form.yaml_file.upload(_read_spec, form.yaml_file, [form.yaml, form.status], **QUIET)
    form.by_name["judge"].change(  # type: ignore[attr-defined]
        lambda judge: gr.CheckboxGroup(visible=bool(judge)), form.by_name["judge"],
        form.by_name["judgements"], **QUIET,
    )  # fmt: skip
    for event, listener in (
        (form.measure.click, starter.measure),
        (tab.select, starter.measure_if_ready),
    ):
        event(
            listener, inputs, [*plan, form.measuring], concurrency_id=MODEL_QUEUE,
            concurrency_limit=1, show_progress="hidden", api_visibility="private",
        )  # fmt: skip

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
    gr.on(
        [own.change, shared.visitor_state.change, tab.select], offered,
        [own, shared.visitor_state, *picks], picks, **QUIET,
    )  # fmt: skip


def _wire_watch(
    shared: Shared,
    form: StudyForm,
    watch: StudyWatch,
    starter: StudyStarter,
    watcher: StudyWatcher,
) -> None:
    visitor = shared.visitor_state
    looking = [watch.run_id, visitor]
    gr.on(
        [shared.page.load, visitor.change], watcher.arrive, looking,
        [watch.run_id, watch.runs, form.fold], **QUIET,
    )  # fmt: skip
    gr.on(
        [watch.run_id.change, watch.timer.tick], watcher.look, looking, watch.outputs, **QUIET
    )
    started = form.start.click(
        starter.start, [visitor, shared.personas_state, *form.fields],
        [form.status, watch.run_id, form.fold], **QUIET,
    )  # fmt: skip
    started.then(watcher.choices, [visitor, watch.run_id], watch.runs, **QUIET)
    # A refused start leaves the shown study's address as it is: it is the one on the screen.
    started.then(None, watch.run_id, None, js=SHOW, api_visibility="private")
    watch.runs.input(lambda run: run or "", watch.runs, watch.run_id, **QUIET).then(
        None, watch.run_id, None, js=SHOW, api_visibility="private"
    )
    for button, listener in ((watch.cancel, watcher.cancel), (watch.resume, watcher.resume)):
        button.click(listener, looking, watch.status, **QUIET).then(
            watcher.look, looking, watch.outputs, **QUIET
        )
    watch.explore.click(
        shared.explore, watch.run_id, [shared.explored, shared.tabs], **QUIET
    )
    watch.delete.click(lambda: gr.Row(visible=True), None, watch.confirm, **QUIET)
    watch.confirm_keep.click(lambda: gr.Row(visible=False), None, watch.confirm, **QUIET)
    watch.confirm_delete.click(
        watcher.delete, looking, [watch.status, watch.confirm, watch.run_id, watch.runs], **QUIET
    )
