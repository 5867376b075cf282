"""The composer of the Compare tab: the fields that make up a `Selection`, and its buttons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.common.persona_choices import (
    LENGTH_CHOICES,
    PLACEMENT_CHOICES,
    control_choices,
    persona_choices,
)
from app.common.shared import Updates, fragment, typed_slider
from app.compare.examples import Example, labels
from app.compare.form import FIELDS, Selection, sampling_limits
from app.compare.views.cards import ARM_CHOICES, persona_note
from app.services.settings import Settings
from prism_core.types import Persona


@dataclass(frozen=True)
class Composer:
    """The composer's components."""

    question: gr.Textbox
    persona: gr.Dropdown
    length: gr.Radio
    placement: gr.Radio
    arms: gr.CheckboxGroup
    control: gr.Dropdown
    max_new_tokens: gr.Slider
    temperature: gr.Slider
    top_p: gr.Slider
    top_k: gr.Slider
    repetition_penalty: gr.Slider
    seed: gr.Number
    model: gr.Dropdown
    adapter: gr.Dropdown
    blind: gr.Checkbox
    persona_text: gr.HTML
    run: gr.Button
    stop: gr.Button
    surprise: gr.Button
    link: gr.Button
    link_box: gr.Textbox
    chips: list[gr.Button]

    @property
    def fields(self) -> list[Component]:
        """The components of `FIELDS`."""
        return [getattr(self, name) for name in FIELDS]

    def show(self, values: Mapping[str, Any]) -> Updates:
        """Return the updates that put values, by field name, into the composer."""
        return {getattr(self, name): value for name, value in values.items()}


def build_composer(
    settings: Settings, library: Mapping[str, Persona], examples: tuple[Example, ...]
) -> Composer:
    """Lay the composer out."""
    parts: dict[str, Any] = {}
    default = Selection(model=settings.default_model)
    with gr.Column(elem_id="px-compose", elem_classes="px-card"):
        parts["question"] = gr.Textbox(
            label="Your question",
            placeholder="Ask anything. Ctrl+Enter compares.",
            lines=2,
            max_lines=10,
            elem_id="px-question",
        )
        with gr.Row(elem_classes="px-try", equal_height=True):
            parts["surprise"] = gr.Button("Surprise me", size="sm", elem_id="px-surprise")
            parts["chips"] = [
                gr.Button(label, size="sm", elem_classes="px-chip") for label in labels(examples)
            ]
        with gr.Row(elem_classes="px-row"):
            parts["persona"] = gr.Dropdown(
                persona_choices(library, library),
                value=default.persona,
                label="Persona",
                elem_id="px-persona",
                min_width=220,
            )
            parts["length"] = gr.Radio(
                LENGTH_CHOICES, value=default.length, label="Length", elem_id="px-length"
            )
            parts["placement"] = gr.Radio(
                PLACEMENT_CHOICES,
                value=default.placement,
                label="Placement",
                elem_id="px-placement",
            )
        parts["persona_text"] = fragment(
            persona_note(library.get(default.persona), default.length), elem_id="px-persona-text"
        )
        parts["arms"] = gr.CheckboxGroup(
            ARM_CHOICES, value=list(default.arms), label="Who answers", elem_id="px-arms"
        )
        parts["adapter"] = gr.Dropdown(
            [], label="Adapter of the PRISM arm", visible=False, elem_id="px-adapter"
        )
        parts |= _actions()
        with gr.Accordion("Sampling and model", open=False, elem_id="px-more"):
            parts |= _sampling(settings, default)
            parts |= _model(settings, library, default)
    return Composer(**parts)


def _actions() -> dict[str, Any]:
    parts: dict[str, Any] = {}
    with gr.Row(elem_classes="px-actions", equal_height=True):
        parts["run"] = gr.Button("Compare", variant="primary", size="lg", elem_id="px-run", scale=0)
        parts["stop"] = gr.Button(
            "Stop", variant="stop", size="lg", elem_id="px-stop", visible=False, scale=0
        )
        parts["blind"] = gr.Checkbox(
            label="Blind vote",
            info="Hide who wrote what until you have chosen.",
            elem_id="px-blind",
            container=False,
        )
        parts["link"] = gr.Button("Copy link", size="sm", elem_id="px-link", scale=0)
    parts["link_box"] = gr.Textbox(
        label="Link to these inputs",
        visible=False,
        interactive=False,
        buttons=["copy"],
        elem_id="px-link-box",
    )
    return parts


def _sampling(settings: Settings, default: Selection) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    limits = sampling_limits(settings)

    def slider(name: str, step: float, info: str, elem_id: str | None = None) -> None:
        label, low, high = limits[name]
        value = getattr(default.sampling, name)
        parts[name] = typed_slider(
            low, high, value=value, step=step, label=label, info=info, elem_id=elem_id
        )

    with gr.Row(elem_classes="px-row"):
        slider("max_new_tokens", 1, "Where an answer is cut at the latest.", "px-tokens")
        slider("temperature", 0.05, "0 always takes the likeliest token.")
        slider("repetition_penalty", 0.05, "1 allows every repetition.")
    with gr.Row(elem_classes="px-row"):
        slider("top_p", 0.05, "1 keeps every token.")
        slider("top_k", 1, "0 keeps every token.")
        parts["seed"] = gr.Number(
            value=default.seed,
            precision=0,
            label="Seed",
            info="The same seed gives the same answers.",
            elem_id="px-seed",
        )
    return parts


def _model(
    settings: Settings, library: Mapping[str, Persona], default: Selection
) -> dict[str, Any]:
    free = not settings.public
    with gr.Row(elem_classes="px-row"):
        model = gr.Dropdown(
            list(settings.models),
            value=default.model,
            label="Model",
            allow_custom_value=free,
            info="Or a Hub id like org/name, a folder, a .gguf file." if free else None,
            elem_id="px-model",
        )
        control = gr.Dropdown(
            control_choices(library),
            value=default.control,
            label="Text of the control arm",
            info="As long as the persona's text.",
        )
    return {"model": model, "control": control}
