"""The form of the Train tab: the fields that make up a `TrainSpec`.

`TrainForm.fields` are the inputs of every listener that needs the choices, personas first;
`form_values` turns their values into a mapping by field name, and `fill` is the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.components import Component

from app.common.persona_choices import LENGTH_CHOICES, PLACEMENT_CHOICES, persona_choices
from app.common.run_start import MEASURE
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


@dataclass(frozen=True)
class TrainForm:
    """The form's components."""

    fold: gr.Accordion
    by_name: Mapping[str, Component]
    personas: gr.Dropdown
    people: gr.Column
    note: gr.HTML
    plan: gr.HTML
    measuring: gr.HTML
    measure: gr.Button
    start: gr.Button
    status: gr.HTML

    @property
    def fields(self) -> list[Component]:
        """The inputs that make up a spec: the personas, then `FORM_FIELDS`."""
        return [self.personas, *(self.by_name[name] for name in FORM_FIELDS)]


def form_values(values: tuple[Any, ...]) -> tuple[list[str], dict[str, Any]]:
    """Chosen personas, and the other values by field name."""
    personas, *rest = values
    chosen = [str(p) for p in personas] if isinstance(personas, list) else []
    return chosen, dict(zip(FORM_FIELDS, rest, strict=True))


def fill(preset: str, model: str, settings: Settings) -> list[Any]:
    """The values that a preset gives `TrainForm.fields`, as far as they are allowed here."""
    spec = preset_values(preset, model, settings)
    if spec.judge == "verifiable":  # the demo's; it is no choice for other runs
        spec = replace(spec, judge="self")
    return [list(spec.personas), *(getattr(spec, name) for name in FORM_FIELDS)]


def build_form(settings: Settings, library: Mapping[str, Persona]) -> TrainForm:
    """Lay the form out."""
    start = preset_values("demo", settings.default_model, settings)
    start = replace(start, judge="self", personas=PAPER_PERSONAS)
    parts: dict[str, Any] = {}
    with (
        gr.Accordion("Set up a run", open=True, elem_id="px-setup") as fold,
        gr.Row(elem_classes="px-train-setup", equal_height=False),
    ):
        with gr.Column(elem_classes="px-card", elem_id="px-train-form", scale=3, min_width=320):
            parts |= _choices(start, library, settings)
        with gr.Column(elem_classes="px-card", scale=2, min_width=320):
            parts["plan"] = fragment(elem_id="px-plan")
            parts["measuring"] = fragment(elem_id="px-measuring")
            parts["measure"] = gr.Button(MEASURE, size="sm", elem_id="px-measure")
    return TrainForm(fold=fold, **parts)


def _choices(
    start: TrainSpec, library: Mapping[str, Persona], settings: Settings
) -> dict[str, Any]:
    by_name: dict[str, Any] = {}
    fragment(
        "<h2>Train an adapter</h2><p class='px-help'>The model writes questions, answers "
        "them with and without each persona, judges the pairs, and learns where a persona "
        "helps. Nothing from outside is used.</p>"
    )
    limits = limits_sentence(settings)
    if limits:
        fragment(f'<p class="px-warning">{limits}</p>')
    by_name["preset"] = gr.Radio(
        PRESET_CHOICES, value=start.preset, label="Preset", elem_id="px-preset"
    )
    note = fragment(_note(start.preset))
    by_name |= _naming(start, settings)
    personas, people, more = _people(start, library, settings)
    by_name |= more
    with gr.Accordion("Advanced", open=False, elem_id="px-train-more"):
        by_name |= _advanced(start, settings)
    status = fragment(elem_id="px-train-status")
    button = gr.Button("Start training", variant="primary", size="lg", elem_id="px-train-start")
    return {
        "by_name": by_name,
        "personas": personas,
        "people": people,
        "note": note,
        "status": status,
        "start": button,
    }


def _note(preset: str) -> str:
    return f'<p class="px-help">{PRESET_NOTES.get(preset, "")}</p>'


def preset_changes(preset: str, model: str, settings: Settings) -> list[Any]:
    """What choosing a preset changes: note, visibility of the persona part, and all fields."""
    return [_note(preset), gr.Column(visible=preset != "demo"), *fill(preset, model, settings)]


def _naming(start: TrainSpec, settings: Settings) -> dict[str, Any]:
    free = not settings.public
    with gr.Row(elem_classes="px-row"):
        name = gr.Textbox(
            value=start.name, label="Name of the adapter", max_lines=1, elem_id="px-train-name"
        )
        model = gr.Dropdown(
            list(settings.models),
            value=start.model,
            label="Base model",
            allow_custom_value=free,
            info="Or a Hub id like org/name, a folder, or a .gguf file." if free else None,
            elem_id="px-train-model",
        )
    return {"name": name, "model": model}


def _people(
    start: TrainSpec, library: Mapping[str, Persona], settings: Settings
) -> tuple[gr.Dropdown, gr.Column, dict[str, Any]]:
    found: dict[str, Any] = {}
    with gr.Column(elem_classes="px-people", visible=start.preset != "demo") as people:
        personas = gr.Dropdown(
            persona_choices(library, library),
            value=list(start.personas),
            multiselect=True,
            label="Personas",
            info="Your own ones from the Personas tab are offered too.",
            elem_id="px-train-personas",
        )
        with gr.Row(elem_classes="px-row"):
            found["length"] = gr.Radio(LENGTH_CHOICES, value=start.length, label="Persona length")
            found["queries_per_persona"] = typed_slider(
                1,
                min(range_here("queries_per_persona", settings)[1], 100),
                value=start.queries_per_persona,
                step=1,
                label="Queries a persona",
                elem_id="px-queries",
            )
        found["judge"] = gr.Radio(
            [c for c in JUDGE_CHOICES if c[1] != "remote" or not settings.public],
            value=start.judge,
            label="Judge",
            elem_id="px-train-judge",
        )
        found["remote_model"] = gr.Textbox(
            label="Remote judge's model",
            info="Its address and key come from PRISM_REMOTE_URL and PRISM_REMOTE_KEY.",
            visible=False,
            max_lines=1,
            elem_id="px-remote-model",
        )
    return personas, people, found


def _advanced(start: TrainSpec, settings: Settings) -> dict[str, Any]:
    def whole(name: str, label: str, info: str = "") -> gr.Number:
        low, high = range_here(name, settings)
        # Limits given to the component would end in its own error, which names no field.
        return gr.Number(
            getattr(start, name),
            label=label,
            precision=0,
            info=info or f"{low:g} to {high:,.10g}",
            elem_id=f"px-train-{name.replace('_', '-')}",
        )

    def real(name: str, label: str, info: str = "") -> gr.Number:
        return gr.Number(getattr(start, name), label=label, step=0.01, info=info or None)

    found: dict[str, Any] = {}
    fragment("<h3>Questions and answers</h3>")
    with gr.Row(elem_classes="px-row"):
        found["answer_tokens"] = whole("answer_tokens", "Longest answer (tokens)")
        found["rounds"] = whole("rounds", "Rounds", "Repeats stages 2 to 5.")
        found["seed"] = whole("seed", "Seed")
    found["placement"] = gr.Radio(
        PLACEMENT_CHOICES, value=start.placement, label="Placement of the persona's text"
    )
    fragment("<h3>Gate</h3>")
    found["feature"] = gr.Radio(FEATURE_CHOICES, value=start.feature, label="What the gate reads")
    low, high = range_here("held_out_share", settings)
    found["held_out_share"] = typed_slider(
        low, high, value=start.held_out_share, step=0.05, label="Share of topics held out"
    )
    fragment("<h3>Distillation</h3>")
    with gr.Row(elem_classes="px-row"):
        found["rank"] = whole("rank", "LoRA rank")
        found["alpha"] = whole("alpha", "LoRA alpha")
        found["epochs"] = whole("epochs", "Epochs")
        found["batch_size"] = whole("batch_size", "Answers a step")
    with gr.Row(elem_classes="px-row"):
        found["learning_rate"] = gr.Number(start.learning_rate, label="Learning rate", step=1e-5)
        found["temperature"] = real("temperature", "Temperature of the KL")
        found["top_k"] = whole("top_k", "Teacher's tokens")
        found["max_tokens"] = whole("max_tokens", "Longest training text")
    return found
