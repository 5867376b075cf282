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
from app.compare.form import DEFAULT_ARMS, DEFAULT_SAMPLING, Selection
from app.compare.views.cards import ARM_CHOICES, persona_note
from app.services.settings import Settings
from prism_core.types import Persona, Sampling

SAMPLING_FIELDS = tuple(Sampling.__dataclass_fields__)
FIELDS = (
    *("question", "persona", "length", "placement", "arms", "control"),
    *SAMPLING_FIELDS,
    *("seed", "model", "adapter"),
)
"""The inputs by name, in the order in which listeners get their values."""


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
    """A button for each category of examples."""

    @property
    def fields(self) -> list[Component]:
        """The components of `FIELDS`."""
        return [getattr(self, name) for name in FIELDS]

    def show(self, values: Mapping[str, Any]) -> Updates:
        """Return the updates that put values, by field name, into the composer."""
        return {getattr(self, name): value for name, value in values.items()}


def selection_of(*values: Any) -> Selection:
    """Return the selection in the values of `Composer.fields`, not checked yet."""
    raw = dict(zip(FIELDS, values, strict=True))
    sampling = Sampling(**{name: raw.pop(name) for name in SAMPLING_FIELDS})
    texts = {n: raw.pop(n) or "" for n in ("question", "persona", "control", "model", "adapter")}
    return Selection(**raw | texts | {"arms": tuple(raw["arms"] or ()), "sampling": sampling})


def values_of(selection: Selection) -> dict[str, Any]:
    """Return the values, by field name, that show a selection."""
    sampling = {name: getattr(selection.sampling, name) for name in SAMPLING_FIELDS}
    others = {name: getattr(selection, name) for name in FIELDS if name not in sampling}
    arms, adapter = list(selection.arms), selection.adapter or None
    return {**others, **sampling, "arms": arms, "adapter": adapter}


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
            ARM_CHOICES, value=list(DEFAULT_ARMS), label="Who answers", elem_id="px-arms"
        )
        parts["adapter"] = gr.Dropdown(
            [], label="Adapter of the PRISM arm", visible=False, elem_id="px-adapter"
        )
        parts |= _actions()
        with gr.Accordion("Sampling and model", open=False, elem_id="px-more"):
            parts |= _sampling(settings)
            parts |= _model(settings, library, default)
    return Composer(**parts)


def _actions() -> dict[str, Any]:
    with gr.Row(elem_classes="px-actions", equal_height=True):
        run = gr.Button("Compare", variant="primary", size="lg", elem_id="px-run", scale=0)
        stop = gr.Button(
            "Stop", variant="stop", size="lg", elem_id="px-stop", visible=False, scale=0
        )
        blind = gr.Checkbox(
            label="Blind vote",
            info="Hide who wrote what until you have chosen.",
            elem_id="px-blind",
            container=False,
        )
        link = gr.Button("Copy link", size="sm", elem_id="px-link", scale=0)
    link_box = gr.Textbox(
        label="Link to these inputs",
        visible=False,
        interactive=False,
        buttons=["copy"],
        elem_id="px-link-box",
    )
    return {"run": run, "stop": stop, "blind": blind, "link": link, "link_box": link_box}


def _sampling(settings: Settings) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    most = settings.max_new_tokens

    def slider(name: str, low: float, high: float, step: float, label: str, info: str) -> None:
        elem_id = "px-tokens" if name == "max_new_tokens" else None
        value = getattr(DEFAULT_SAMPLING, name)
        parts[name] = typed_slider(
            low, high, value=value, step=step, label=label, info=info, elem_id=elem_id
        )

    with gr.Row(elem_classes="px-row"):
        cut = "Where an answer is cut at the latest."
        slider("max_new_tokens", 1, most, 1, "Most new tokens", cut)
        slider("temperature", 0, 2, 0.05, "Temperature", "0 always takes the likeliest token.")
        allowed = "1 allows every repetition."
        slider("repetition_penalty", 1, 2, 0.05, "Repetition penalty", allowed)
    with gr.Row(elem_classes="px-row"):
        slider("top_p", 0.05, 1, 0.05, "Top-p", "1 keeps every token.")
        slider("top_k", 0, 1000, 1, "Top-k", "0 keeps every token.")
        parts["seed"] = gr.Number(
            value=0,
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
