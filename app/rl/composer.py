"""The form of the RL tab: the fields that make up an `RlSpec`."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr

from app.common.fields import Fields
from app.common.run_start import RunForm, form_fold
from app.common.shared import fragment, typed_slider
from app.common.text import escape
from app.rl.form import PUBLIC_FAMILIES, rl_within
from app.rl.views import ARM_TITLES
from app.services.settings import Settings
from prism_core.personas.pool import PARTS, load_pool
from prism_core.rl.spec import RL_PRESETS
from prism_core.rl.tasks import FAMILIES

PRESET_CHOICES = [("Quick, for a small machine", "quick"), ("Full, for a GPU", "full")]
MIXING_CHOICES = [("One for each question", "prompt"), ("One for each answer", "rollout")]


def build_rl_form(settings: Settings) -> RunForm:
    """Lay the form out."""
    start = replace(rl_within(RL_PRESETS["quick"], settings), model=settings.default_model)
    fields = Fields("px-rl", start)
    with form_fold("Set up a run", "px-rl-setup") as fold:
        with gr.Column(elem_classes="px-card", elem_id="px-rl-form", scale=3, min_width=320):
            fragment(
                "<h2>Train for robustness</h2><p class='px-help'>The model answers tasks whose "
                "answers a program can verify, and learns from what was right. Personas mixed "
                "into its prompts are to keep it steady, whoever it is asked to be.</p>"
            )
            _main(fields, settings)
            with gr.Accordion("Advanced", open=False, elem_id="px-rl-more"):
                _advanced(fields)
            status = fragment(elem_id="px-rl-status")
            button = gr.Button("Start", variant="primary", size="lg", elem_id="px-rl-start")
        with gr.Column(elem_classes="px-card", scale=2, min_width=320):
            fragment("<h3>What will happen</h3>")
            plan = fragment(elem_id="px-rl-plan")
            with gr.Accordion("The pool of personas", open=False, elem_id="px-rl-pool"):
                fragment(pool_html())
    return RunForm(fold=fold, by_name=fields.by_name, plan=plan, start=button, status=status)


def pool_html() -> str:
    """Show the pool by part: what training may see, and what is kept for measuring."""
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


def _main(fields: Fields, settings: Settings) -> None:
    free = not settings.public
    families = [(f.title, f.name) for f in FAMILIES.values() if free or f.name in PUBLIC_FAMILIES]
    fields.add(gr.Radio, "preset", "Preset", choices=PRESET_CHOICES)
    fields.add(gr.Radio, "arm", "Arm", choices=[(t, name) for name, t in ARM_TITLES.items()])
    with gr.Row(elem_classes="px-row"):
        fields.add(gr.Dropdown, "family", "Tasks", choices=families)
        info = "0 is the easiest; -1 lets a probe choose one that is solved now and then."
        fields.whole("level", "Level", info)
    with gr.Row(elem_classes="px-row"):
        fields.add(
            typed_slider,
            "persona_share",
            "Share of prompts with a persona",
            "px-rl-share",
            low=0.0,
            high=1.0,
            step=0.05,
        )
        fields.add(gr.Radio, "mixing", "Personas are drawn", choices=MIXING_CHOICES)
    with gr.Row(elem_classes="px-row"):
        fields.add(gr.Textbox, "name", "Name of the adapter", max_lines=1)
        fields.model(settings)


def _advanced(fields: Fields) -> None:
    with gr.Row(elem_classes="px-row"):
        fields.whole("steps", "Steps")
        fields.whole("prompts", "Questions a step")
        fields.whole("rollouts", "Answers to each")
    with gr.Row(elem_classes="px-row"):
        fields.real("learning_rate", "Learning rate", 1e-5)
        fields.real("temperature", "Temperature", 0.1)
        fields.real("kl_weight", "Weight of the KL", 0.01)
        fields.whole("rank", "LoRA rank")
    with gr.Row(elem_classes="px-row"):
        fields.whole("answer_tokens", "Longest answer (tokens)", "0 takes the tasks' own.")
        fields.whole("held_out", "Held-out questions")
        fields.whole("repeats", "Answers to each of them")
        fields.whole("seed", "Seed")
