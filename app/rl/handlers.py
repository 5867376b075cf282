"""The listeners of the RL tab's form: fill it in, plan the run, start it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.form_values import find_preset
from app.common.run_start import RunStarter
from app.common.shared import Updates
from app.common.text import notice
from app.rl.form import rl_plan, rl_spec_of, rl_within
from prism_core.errors import PrismError
from prism_core.models.sources import resolve
from prism_core.rl.spec import RL_PRESETS, RlSpec

KEPT = ("arm", "model", "name")
"""The fields that no preset changes."""


@dataclass(frozen=True)
class RlStarter(RunStarter[RlSpec]):
    """The listeners that fill in, check and start."""

    kind = "rl"

    def spec(self, *values: Any) -> RlSpec:
        """See `RunStarter.spec`."""
        return rl_spec_of(self.named(values), self.shared.settings)

    def check(self, spec: RlSpec, owner: str) -> None:
        """See `RunStarter.check`."""
        resolve(spec.model)

    def plan(self, *values: Any) -> Updates:
        """Say what the run will do."""
        try:
            return {self.form.plan: notice("info", rl_plan(self.spec(*values)))}
        except PrismError as error:
            return {self.form.plan: notice("warn", str(error))}

    def preset(self, preset: str) -> Updates:
        """Fill the form in; arm, model and name stay."""
        try:
            spec = rl_within(find_preset(RL_PRESETS, preset), self.shared.settings)
        except PrismError:
            return gr.skip()
        return {
            field: getattr(spec, name)
            for name, field in self.form.by_name.items()
            if name not in KEPT
        }
