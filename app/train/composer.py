"""The form of the Train tab: the fields that make up a `TrainSpec`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app.common.fields import Fields
from app.common.persona_choices import LENGTH_CHOICES, PLACEMENT_CHOICES, persona_choices
from app.common.run_start import MeasuredForm, build_plan, form_fold
from app.common.shared import fragment, typed_slider
from app.services.settings import Settings
from app.train.form import FORM_FIELDS, limits_sentence, preset_values, range_here
from prism_core.prism.spec import PAPER_PERSONAS, TrainSpec
from prism_core.types import Persona

PRESET_CHOICES = [
    ("Demo", "demo"),
    ("Quick", "quick"),
    ("Full, as in the paper", "full"),
    ("Custom", "custom"),
]
PRESET_NOTES = {
    "demo": "A case with a known answer: a pirate, wanted in small talk and unwanted in plain "
    "questions. A program checks every answer, so you can see whether the method works here.",
    "quick": "The paper's twelve personas with few and short answers: minutes on a small machine.",
    "full": "The paper's numbers: 50 queries a persona, long answers, ten epochs. Give it a GPU.",
    "custom": "Every choice is yours, your own personas included.",
}
JUDGE_CHOICES = [("The model itself", "self"), ("A remote model", "remote")]
FEATURE_CHOICES = [
    ("Choose by cross-validation", "auto"),
    ("Last token (paper)", "last"),
    ("Mean", "mean"),
    ("Both", "both"),
]
THRESHOLD_CHOICES = [("0.5 (paper)", "paper"), ("Choose by cross-validation", "out_of_fold")]


@dataclass(frozen=True)
class TrainForm(MeasuredForm):
    """The form's components."""

    people: gr.Column
    """The part that the demo has no use for."""
    note: gr.HTML


def fill(preset: str, model: str, settings: Settings) -> dict[str, Any]:
    """Return the values that a preset gives the fields, by name; see `preset_values`."""
    spec = preset_values(preset, model, settings)
    if spec.judge == "verifiable":  # the demo's; it is no choice for other runs
        spec = replace(spec, judge="self")
    return {"personas": list(spec.personas)} | {name: getattr(spec, name) for name in FORM_FIELDS}


def preset_note(preset: str) -> str:
    """Say what a preset is."""
    return f'<p class="px-help">{PRESET_NOTES.get(preset, "")}</p>'


def build_form(settings: Settings, library: Mapping[str, Persona]) -> TrainForm:
    """Lay the form out."""
    start = preset_values("demo", settings.default_model, settings)
    start = replace(start, judge="self", personas=PAPER_PERSONAS)
    fields = Fields("px-train", start)
    with form_fold("Set up a run", "px-setup") as fold:
        with gr.Column(elem_classes="px-card", elem_id="px-train-form", scale=3, min_width=320):
            parts = _choices(fields, start, library, settings)
        parts |= build_plan("px")
    return TrainForm(fold=fold, by_name=fields.by_name, **parts)


def _choices(
    fields: Fields, start: TrainSpec, library: Mapping[str, Persona], settings: Settings
) -> dict[str, Any]:
    fragment(
        "<h2>Train an adapter</h2><p class='px-help'>The model writes questions, answers "
        "them with and without each persona, judges the pairs, and learns where a persona "
        "helps. Nothing from outside is used.</p>"
    )
    limits = limits_sentence(settings)
    if limits:
        fragment(f'<p class="px-warning">{limits}</p>')
    fields.add(gr.Radio, "preset", "Preset", "px-preset", choices=PRESET_CHOICES)
    note = fragment(preset_note(start.preset))
    with gr.Row(elem_classes="px-row"):
        fields.add(gr.Textbox, "name", "Name of the adapter", max_lines=1)
        fields.model(settings)
    with gr.Column(elem_classes="px-people", visible=start.preset != "demo") as people:
        _people(fields, library, settings)
    with gr.Accordion("Advanced", open=False, elem_id="px-train-more"):
        _advanced(fields, settings)
    status = fragment(elem_id="px-train-status")
    button = gr.Button("Start training", variant="primary", size="lg", elem_id="px-train-start")
    return {"people": people, "note": note, "status": status, "start": button}


def _people(fields: Fields, library: Mapping[str, Persona], settings: Settings) -> None:
    choices, chosen = persona_choices(library, library), list(PAPER_PERSONAS)
    info = "Your own ones from the Personas tab are offered too."
    fields.many("personas", "Personas", choices, info, value=chosen)
    with gr.Row(elem_classes="px-row"):
        fields.add(gr.Radio, "length", "Persona length", choices=LENGTH_CHOICES)
        fields.add(
            typed_slider,
            "queries_per_persona",
            "Queries a persona",
            "px-queries",
            low=1,
            high=min(range_here("queries_per_persona", settings)[1], 100),
            step=1,
        )
    judges = [c for c in JUDGE_CHOICES if c[1] != "remote" or not settings.public]
    fields.add(gr.Radio, "judge", "Judge", choices=judges)
    fields.add(
        gr.Textbox,
        "remote_model",
        "Remote judge's model",
        "px-remote-model",
        info="Its address and key come from PRISM_REMOTE_URL and PRISM_REMOTE_KEY.",
        visible=False,
        max_lines=1,
    )


def _advanced(fields: Fields, settings: Settings) -> None:
    def whole(name: str, label: str, info: str = "") -> None:
        low, high = range_here(name, settings)
        fields.whole(name, label, info or f"{low:g} to {high:,.10g}")

    fragment("<h3>Questions and answers</h3>")
    with gr.Row(elem_classes="px-row"):
        whole("answer_tokens", "Longest answer (tokens)")
        whole("rounds", "Rounds", "Repeats stages 2 to 5.")
        whole("seed", "Seed")
    fields.add(gr.Radio, "placement", "Placement of the persona's text", choices=PLACEMENT_CHOICES)
    fragment("<h3>Gate</h3>")
    fields.add(gr.Radio, "feature", "What the gate reads", choices=FEATURE_CHOICES)
    fields.add(gr.Radio, "threshold", "From where on it opens", choices=THRESHOLD_CHOICES)
    low, high = range_here("held_out_share", settings)
    label = "Share of topics held out"
    fields.add(typed_slider, "held_out_share", label, low=low, high=high, step=0.05)
    fragment("<h3>Distillation</h3>")
    with gr.Row(elem_classes="px-row"):
        whole("rank", "LoRA rank")
        whole("alpha", "LoRA alpha")
        whole("epochs", "Epochs")
        whole("batch_size", "Answers a step")
    with gr.Row(elem_classes="px-row"):
        fields.real("learning_rate", "Learning rate", 1e-5)
        fields.real("temperature", "Temperature of the KL", 0.01)
        whole("top_k", "Teacher's tokens")
        whole("max_tokens", "Longest training text")
