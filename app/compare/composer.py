"""The composer of the Compare tab: the fields that make up a `Selection`.

`Composer.fields` are the inputs of every listener that needs the selection, in one fixed order;
`selection_of` turns their values into a `Selection`, and `values_of` is the way back.
"""

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
from app.common.shared import fragment, typed_slider
from app.compare.examples import Example, labels
from app.compare.form import DEFAULT_ARMS, DEFAULT_SAMPLING, Selection
from app.compare.views.cards import ARM_CHOICES, persona_note
from app.services.settings import Settings
from prism_core.types import Persona, Sampling


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
        """The inputs that make up a selection, in the order that `selection_of` takes."""
        return [
            self.question,
            self.persona,
            self.length,
            self.placement,
            self.arms,
            self.control,
            self.max_new_tokens,
            self.temperature,
            self.top_p,
            self.top_k,
            self.repetition_penalty,
            self.seed,
            self.model,
            self.adapter,
        ]


def selection_of(*values: Any) -> Selection:
    """The selection in the values of `Composer.fields`; not checked yet."""
    question, persona, length, placement, arms, control, *rest = values
    tokens, temperature, top_p, top_k, penalty, seed, model, adapter = rest
    return Selection(
        question=question or "",
        persona=persona or "",
        length=length,
        placement=placement,
        arms=tuple(arms or ()),
        control=control or "",
        sampling=Sampling(tokens, temperature, top_p, top_k, penalty),
        seed=seed,
        model=model or "",
        adapter=adapter or "",
    )


def values_of(selection: Selection) -> list[Any]:
    """The values for `Composer.fields` that show a selection."""
    sampling = selection.sampling
    return [
        selection.question,
        selection.persona,
        selection.length,
        selection.placement,
        list(selection.arms),
        selection.control,
        sampling.max_new_tokens,
        sampling.temperature,
        sampling.top_p,
        sampling.top_k,
        sampling.repetition_penalty,
        selection.seed,
        selection.model,
        selection.adapter or None,
    ]


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
    d = DEFAULT_SAMPLING
    with gr.Row(elem_classes="px-row"):
        tokens = typed_slider(
            1,
            settings.max_new_tokens,
            value=d.max_new_tokens,
            step=1,
            label="Most new tokens",
            info="Where an answer is cut at the latest.",
            elem_id="px-tokens",
        )
        temperature = typed_slider(
            0,
            2,
            value=d.temperature,
            step=0.05,
            label="Temperature",
            info="0 always takes the likeliest token.",
        )
        penalty = typed_slider(
            1,
            2,
            value=d.repetition_penalty,
            step=0.05,
            label="Repetition penalty",
            info="1 allows every repetition.",
        )
    with gr.Row(elem_classes="px-row"):
        top_p = typed_slider(
            0.05, 1, value=d.top_p, step=0.05, label="Top-p", info="1 keeps every token."
        )
        top_k = typed_slider(
            0, 1000, value=d.top_k, step=1, label="Top-k", info="0 keeps every token."
        )
        seed = gr.Number(
            value=0,
            precision=0,
            label="Seed",
            info="The same seed gives the same answers.",
            elem_id="px-seed",
        )
    return {
        "max_new_tokens": tokens,
        "temperature": temperature,
        "repetition_penalty": penalty,
        "top_p": top_p,
        "top_k": top_k,
        "seed": seed,
    }


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
