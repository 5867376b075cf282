"""The listeners of the Train tab's form: fill it in, plan the run, start it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import psutil

from app.common.persona_choices import keep_known, merge_personas, persona_choices
from app.common.run_start import MeasuredStarter
from app.common.shared import Updates
from app.train.composer import TrainForm, fill, preset_note
from app.train.form import spec_of
from app.train.views.progress import plan_panel
from prism_core.errors import PrismError
from prism_core.models import remote
from prism_core.models.sources import resolve
from prism_core.prism.demo import demo_queries
from prism_core.prism.forecast import forecast_training
from prism_core.prism.spec import TrainSpec


@dataclass(frozen=True)
class TrainStarter(MeasuredStarter[TrainSpec]):
    """The listeners that fill in, check, estimate and start."""

    kind = "train"

    form: TrainForm

    def spec(self, *values: Any) -> TrainSpec:
        """See `RunStarter.spec`; the visitor's own personas come before the fields."""
        own, *rest = values
        fields = self.named(rest)
        picked = fields["personas"]
        chosen = [str(name) for name in picked] if isinstance(picked, list) else []
        personas = merge_personas(self.library, own)
        return spec_of(fields, chosen, personas, self.library, self.shared.settings)

    def model(self, spec: TrainSpec) -> str:
        """See `MeasuredStarter.model`."""
        return spec.model

    def panel(self, spec: TrainSpec) -> str:
        """See `MeasuredStarter.panel`."""
        probe, machine = self.measured(spec.model)
        number = len(demo_queries()) if spec.preset == "demo" else None
        estimate = forecast_training(spec, probe, queries=number)
        return plan_panel(estimate, machine, int(psutil.virtual_memory().available))

    def check(self, spec: TrainSpec, owner: str) -> None:
        """See `RunStarter.check`."""
        resolve(spec.model)
        if spec.judge == "remote":
            remote.from_environment(spec.remote_model)

    def preset(self, preset: str, model: str) -> Updates:
        """Fill the form in."""
        try:
            values = fill(preset, model, self.shared.settings)
        except PrismError:
            return gr.skip()
        filled = {self.form.by_name[name]: value for name, value in values.items()}
        people = gr.Column(visible=preset != "demo")
        return {self.form.note: preset_note(preset), self.form.people: people, **filled}

    def offer(self, own: object, picked: object) -> Updates:
        """Offer the personas, the visitor's own included; what was picked stays."""
        personas = merge_personas(self.library, own)
        choices = persona_choices(personas, self.library)
        kept = keep_known(picked, personas)
        return {self.form.by_name["personas"]: gr.Dropdown(choices, value=kept)}

    def show_remote(self, judge: object) -> Updates:
        """Ask for the remote judge's model where there is one."""
        return {self.form.by_name["remote_model"]: gr.Textbox(visible=judge == "remote")}
