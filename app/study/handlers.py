"""The listeners of the Study tab's form: plan a study, move between form and YAML, start it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.common.persona_choices import keep_known, merge_personas
from app.common.run_start import MeasuredStarter
from app.common.shared import Shared, Updates
from app.common.text import notice
from app.services.visitor import read_visitor
from app.study.composer import FORM, YAML, StudyForm, study_personas
from app.study.form import check_size, study_of, study_of_yaml
from app.study.views import study_plan_panel
from prism_core.errors import PrismError
from prism_core.models.sources import is_remote, resolve
from prism_core.study.plan import plan_study
from prism_core.study.resolve import find_adapter
from prism_core.study.spec import StudySpec, to_yaml
from prism_core.utils.plain_yaml import MAX_YAML_CHARACTERS


@dataclass(frozen=True)
class StudyStarter(MeasuredStarter[StudySpec]):
    """The listeners that fill in, check, estimate and start."""

    kind = "study"
    counts_alone = True

    form: StudyForm

    def spec(self, *values: Any) -> StudySpec:
        """See `RunStarter.spec`; the form's own text of a spec, or its fields."""
        own, mode, text, *rest = values
        if mode == YAML:
            return study_of_yaml(text, self.shared.settings)
        personas = merge_personas(self.library, own)
        return study_of(self.named(rest), personas, self.library, self.shared.settings)

    def model(self, spec: StudySpec) -> str:
        """See `MeasuredStarter.model`."""
        return spec.models[0]

    def panel(self, spec: StudySpec) -> str:
        """See `MeasuredStarter.panel`."""
        probe, machine = self.measured(self.model(spec))
        plan = plan_study(spec, probe)
        check_size(plan, self.shared.settings)
        return study_plan_panel(plan, machine)

    def check(self, spec: StudySpec, owner: str) -> None:
        """See `RunStarter.check`."""
        check_size(plan_study(spec), self.shared.settings)
        for model in spec.models:
            if not is_remote(model):
                resolve(model)
        for arm in spec.adapters:
            find_adapter(arm.reference, self.shared.store, owner)

    def switch(self, mode: str) -> Updates:
        """Show the fields, or the YAML."""
        return {
            self.form.form_box: gr.Column(visible=mode != YAML),
            self.form.yaml_box: gr.Column(visible=mode == YAML),
        }

    def write_yaml(self, own: object, *values: Any) -> Updates:
        """Write the form's study as YAML."""
        try:
            text = to_yaml(self.spec(own, FORM, *values[1:]))
        except PrismError as error:
            return {self.form.status: notice("error", str(error))}
        return {self.form.yaml: text, self.form.status: ""}

    def read_yaml(self, path: str | None) -> Updates:
        """Put an uploaded spec's text into the form."""
        try:
            text = Path(path or "").read_bytes()[: 4 * MAX_YAML_CHARACTERS].decode("utf-8")
        except (OSError, UnicodeDecodeError):
            return {
                self.form.status: notice("error", "A spec is a text in UTF-8; this file is not.")
            }
        return {self.form.yaml: text, self.form.status: ""}

    def show_judgements(self, judge: object) -> Updates:
        """Ask what a judge is to judge where there is one."""
        return {self.form.by_name["judgements"]: gr.CheckboxGroup(visible=bool(judge))}

    def offer(self, own: object, visitor: object, people: object, chosen: object) -> Updates:
        """Offer personas and adapters, the visitor's own included; what was picked stays."""
        personas = merge_personas(self.library, own)
        adapters = adapter_choices(self.shared, read_visitor(visitor))
        kept = keep_known(people, personas)
        still = keep_known(chosen, {value for _, value in adapters})
        names = study_personas(personas, self.library)
        return {
            self.form.by_name["personas"]: gr.Dropdown(names, value=kept),
            self.form.by_name["adapters"]: gr.Dropdown(adapters, value=still),
        }


def adapter_choices(shared: Shared, owner: str | None) -> list[tuple[str, str]]:
    """Return the adapters that a visitor can use."""
    return [(entry.title, entry.id) for entry in shared.shelf.entries(owner)]
