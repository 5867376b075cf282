"""The form of the RL tab: the fields that make up an `RlSpec`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.components import Component

from app.common.shared import fragment, typed_slider
from app.common.text import escape
from app.rl.form import PUBLIC_FAMILIES, RL_FIELDS, rl_within
from app.rl.views import ARM_TITLES
from app.services.settings import Settings
from prism_core.personas.pool import PARTS, load_pool
from prism_core.rl.spec import RL_PRESETS, RlSpec
from prism_core.rl.tasks import FAMILIES

PRESET_CHOICES = [("Quick, for a small machine", "quick"), ("Full, for a GPU", "full")]
MIXING_CHOICES = [("One for each question", "prompt"), ("One for each answer", "rollout")]


@dataclass(frozen=True)
class RlForm:
    """The form's components."""

    fold: gr.Accordion
    by_name: Mapping[str, Component]
    plan: gr.HTML
    start: gr.Button
    status: gr.HTML

    @property
    def fields(self) -> list[Component]:
        """The inputs that make up a spec, in the order of `RL_FIELDS`."""
        return [self.by_name[name] for name in RL_FIELDS]


def build_rl_form(settings: Settings) -> RlForm:
    """Lay the form out."""
    start = replace(rl_within(RL_PRESETS["quick"], settings), model=settings.default_model)
    by_name: dict[str, Component] = {}
    with (
        gr.Accordion("Set up a run", open=True, elem_id="px-rl-setup") as fold,
        gr.Row(elem_classes="px-train-setup", equal_height=False),
    ):
        with gr.Column(elem_classes="px-card", elem_id="px-rl-form", scale=3, min_width=320):
            fragment(
                "<h2>Train for robustness</h2><p class='px-help'>The model answers tasks whose "
                "answers a program can verify, and learns from what was right. Personas mixed "
                "into its prompts are to keep it steady, whoever it is asked to be.</p>"
            )
            by_name |= _main(start, settings)
            with gr.Accordion("Advanced", open=False, elem_id="px-rl-more"):
                by_name |= _advanced(start)
            status = fragment(elem_id="px-rl-status")
            button = gr.Button("Start", variant="primary", size="lg", elem_id="px-rl-start")
        with gr.Column(elem_classes="px-card", scale=2, min_width=320):
            fragment("<h3>What will happen</h3>")
            plan = fragment(elem_id="px-rl-plan")
            with gr.Accordion("The pool of personas", open=False, elem_id="px-rl-pool"):
                fragment(pool_html())
    return RlForm(fold=fold, by_name=by_name, plan=plan, start=button, status=status)


def pool_html() -> str:
    """The pool by part: what training may see, and what is kept for measuring."""
    titles = {"train": "Mixed into training", "held_out": "Kept for measuring"}
    found = ""
    for part in PARTS:
        rows = "".join(
            f"<li><b>{escape(p.title)}</b> ({p.attitude}): {escape(p.text)}</li>"
            for p in load_pool()
            if p.part == part
        )
        found += f"<h3>{titles[part]}</h3><ul class='px-notes'>{rows}</ul>"
    return found


def _main(start: RlSpec, settings: Settings) -> dict[str, Component]:
    free = not settings.public
    families = [f for f in FAMILIES.values() if free or f.name in PUBLIC_FAMILIES]
    found: dict[str, Component] = {
        "preset": gr.Radio(
            PRESET_CHOICES, value=start.preset, label="Preset", elem_id="px-rl-preset"
        ),
        "arm": gr.Radio(
            [(title, name) for name, title in ARM_TITLES.items()],
            value=start.arm,
            label="Arm",
            elem_id="px-rl-arm",
        ),
    }
    with gr.Row(elem_classes="px-row"):
        found["family"] = gr.Dropdown(
            [(f.title, f.name) for f in families],
            value=start.family,
            label="Tasks",
            elem_id="px-rl-family",
        )
        found["level"] = gr.Number(
            start.level,
            label="Level",
            precision=0,
            info="0 is the easiest; -1 lets a probe choose one that is solved now and then.",
            elem_id="px-rl-level",
        )
    with gr.Row(elem_classes="px-row"):
        found["persona_share"] = typed_slider(
            0.0,
            1.0,
            value=start.persona_share,
            step=0.05,
            label="Share of prompts with a persona",
            elem_id="px-rl-share",
        )
        found["mixing"] = gr.Radio(
            MIXING_CHOICES, value=start.mixing, label="Personas are drawn", elem_id="px-rl-mixing"
        )
    with gr.Row(elem_classes="px-row"):
        found["name"] = gr.Textbox(
            value=start.name, label="Name of the adapter", max_lines=1, elem_id="px-rl-name"
        )
        found["model"] = gr.Dropdown(
            list(settings.models),
            value=start.model,
            label="Base model",
            allow_custom_value=free,
            info="Or a Hub id like org/name, a folder, or a .gguf file." if free else None,
            elem_id="px-rl-model",
        )
    return found


def _advanced(start: RlSpec) -> dict[str, Component]:
    def whole(name: str, label: str, info: str = "") -> gr.Number:
        return gr.Number(
            getattr(start, name),
            label=label,
            precision=0,
            info=info or None,
            elem_id=f"px-rl-{name.replace('_', '-')}",
        )

    def real(name: str, label: str, step: float) -> gr.Number:
        return gr.Number(
            getattr(start, name), label=label, step=step, elem_id=f"px-rl-{name.replace('_', '-')}"
        )

    found: dict[str, Any] = {}
    with gr.Row(elem_classes="px-row"):
        found["steps"] = whole("steps", "Steps")
        found["prompts"] = whole("prompts", "Questions a step")
        found["rollouts"] = whole("rollouts", "Answers to each")
    with gr.Row(elem_classes="px-row"):
        found["learning_rate"] = real("learning_rate", "Learning rate", 1e-5)
        found["temperature"] = real("temperature", "Temperature", 0.1)
        found["kl_weight"] = real("kl_weight", "Weight of the KL", 0.01)
        found["rank"] = whole("rank", "LoRA rank")
    with gr.Row(elem_classes="px-row"):
        found["answer_tokens"] = whole(
            "answer_tokens", "Longest answer (tokens)", "0 takes the tasks' own."
        )
        found["held_out"] = whole("held_out", "Held-out questions")
        found["repeats"] = whole("repeats", "Answers to each of them")
        found["seed"] = whole("seed", "Seed")
    return found
