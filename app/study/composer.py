"""The form of the Study tab: the fields that make up a `StudySpec`, or the spec itself as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.fields import Fields
from app.common.persona_choices import LENGTH_CHOICES, PLACEMENT_CHOICES
from app.common.run_start import MeasuredForm, build_plan, form_fold
from app.common.shared import fragment
from app.services.settings import Settings
from app.study.form import study_limits, study_limits_sentence
from prism_core.tasks import TASKS
from prism_core.types import Persona

FORM, YAML = "form", "yaml"
JUDGES = [("Nobody", ""), ("The model itself", "self")]
JUDGEMENTS = [
    ("Which answer is better, in both orders", "pairwise"),
    ("Marks from 1 to 10", "rubric"),
    ("Whether it refused", "refusal"),
]
SCORINGS = [("Choose by a probe", "auto"), ("Letters", "letters"), ("Whole answers", "cloze")]
FIRST_PERSONAS = ("math", "writing", "neutral_text")


@dataclass(frozen=True)
class StudyForm(MeasuredForm):
    """The form's components."""

    mode: gr.Radio
    form_box: gr.Column
    yaml_box: gr.Column
    yaml: gr.Textbox
    yaml_file: gr.UploadButton
    yaml_fill: gr.Button

    @property
    def fields(self) -> list[Any]:
        """The inputs that make up a spec: mode and YAML, then what is chosen here."""
        return [self.mode, self.yaml, *self.by_name.values()]


def study_personas(
    personas: Mapping[str, Persona], library: Mapping[str, Persona]
) -> list[tuple[str, str]]:
    """Return the personas that a study can use, controls and own ones marked as such."""

    def mark(persona: Persona) -> str:
        if persona.name not in library:
            return " (yours)"
        return " (control)" if persona.kind == "control" else ""

    return [(p.title + mark(p), p.name) for p in personas.values()]


def build_study_form(
    settings: Settings, library: Mapping[str, Persona], adapters: list[tuple[str, str]]
) -> StudyForm:
    """Lay the form out."""
    fields = Fields("px-study")
    with form_fold("Set up a study", "px-study-setup") as fold:
        with gr.Column(elem_classes="px-card", scale=3, min_width=320):
            parts = _left(fields, settings, library, adapters)
        parts |= build_plan("px-study")
    return StudyForm(fold=fold, by_name=fields.by_name, **parts)


def _left(
    fields: Fields,
    settings: Settings,
    library: Mapping[str, Persona],
    adapters: list[tuple[str, str]],
) -> dict[str, Any]:
    fragment(
        "<h2>Measure what a persona does</h2><p class='px-help'>A study asks every question "
        "plainly and in each persona's voice, and compares the answers item by item.</p>"
    )
    limits = study_limits_sentence(settings)
    if limits:
        fragment(f'<p class="px-warning">{limits}</p>')
    parts: dict[str, Any] = {
        "mode": gr.Radio(
            [("Choose here", FORM), ("A spec as YAML", YAML)],
            value=FORM,
            show_label=False,
            container=False,
            elem_id="px-study-mode",
        )
    }
    free = study_limits(settings).free
    with gr.Column(elem_classes="px-people") as form_box:
        _what(fields, settings, library, free)
        _who(fields, adapters)
        _how(fields, free)
        with gr.Accordion("Advanced", open=False, elem_id="px-study-more"):
            _advanced(fields, free)
    with gr.Column(elem_classes="px-people", visible=False) as yaml_box:
        parts["yaml"] = gr.Textbox(
            label="Spec",
            lines=14,
            max_lines=30,
            elem_id="px-study-yaml",
            placeholder="name: My study\ntasks: [knowledge]\npersonas: [math]",
        )
        with gr.Row(elem_classes="px-tools"):
            parts["yaml_fill"] = gr.Button(
                "Fill in from the form", size="sm", elem_id="px-study-fill"
            )
            parts["yaml_file"] = gr.UploadButton(
                "Upload a spec",
                file_types=[".yaml", ".yml"],
                size="sm",
                elem_id="px-study-yaml-file",
            )
    parts |= {"form_box": form_box, "yaml_box": yaml_box}
    parts["status"] = fragment(elem_id="px-study-start-status")
    parts["start"] = gr.Button(
        "Start the study", variant="primary", size="lg", elem_id="px-study-start"
    )
    return parts


def _what(fields: Fields, settings: Settings, library: Mapping[str, Persona], free: bool) -> None:
    with gr.Row(elem_classes="px-row"):
        fields.add(gr.Textbox, "name", "Name", value="My study", max_lines=1)
        models, chosen = list(settings.models), [settings.default_model]
        info = "Or a Hub id, a folder, or remote:NAME." if free else ""
        fields.many("models", "Models", models, info, value=chosen, allow_custom_value=free)
    tasks = [(task.title, name) for name, task in TASKS.items()]
    fields.many("tasks", "Tasks", tasks, value=["knowledge", "safety"])
    people, chosen = study_personas(library, library), list(FIRST_PERSONAS)
    info = "With a control you learn whether it is the persona, or just a long prompt."
    fields.many("personas", "Personas", people, info, value=chosen)
    boxes, turns = gr.CheckboxGroup, PLACEMENT_CHOICES
    with gr.Row(elem_classes="px-row"):
        fields.add(boxes, "lengths", "Lengths", choices=LENGTH_CHOICES, value=["long"])
        fields.add(boxes, "placements", "Placements", choices=turns, value=["system"])


def _who(fields: Fields, adapters: list[tuple[str, str]]) -> None:
    with gr.Row(elem_classes="px-row"):
        info = "They answer with their gate on."
        fields.many("adapters", "PRISM adapters", adapters, info, value=[])
        # A number field shows an empty value as 0, and 0 means "always open".
        fields.add(
            gr.Textbox,
            "threshold",
            "Threshold",
            value="",
            info="From 0 to 1; empty takes each adapter's own.",
            max_lines=1,
            min_width=140,
        )
    label = "Answer with the gate held open too, so that every threshold is known"
    fields.add(gr.Checkbox, "sweep", label, value=False, container=False)


def _how(fields: Fields, free: bool) -> None:
    with gr.Row(elem_classes="px-row"):
        label, info = "Items of each category", "Below 20 no verdict is given."
        fields.whole("n_per_category", label, info, value=20, elem_id="px-study-n")
        fields.whole("repeats", "Repeats of written answers", value=1)
        fields.real("temperature", "Temperature", 0.1, value=0.0)
    with gr.Row(elem_classes="px-row"):
        fields.add(
            gr.Dropdown,
            "judge",
            "Judge of written answers",
            choices=JUDGES,
            value="",
            allow_custom_value=free,
            info="Or a model's reference." if free else None,
        )
        fields.add(
            gr.CheckboxGroup,
            "judgements",
            "What it is asked",
            choices=JUDGEMENTS,
            value=["pairwise"],
            visible=False,
        )


def _advanced(fields: Fields, free: bool) -> None:
    with gr.Row(elem_classes="px-row"):
        label, info = "Longest answer (tokens)", "Chosen before the data are seen."
        fields.whole("max_new_tokens", label, value=96, elem_id="px-study-tokens")
        fields.real("delta", "Margin of “no worse”", 0.01, value=0.05, info=info)
        fields.whole("item_seed", "Seed of the items", value=0, elem_id="px-study-seed")
    with gr.Row(elem_classes="px-row"):
        fields.add(gr.Radio, "scoring", "How choices are read", choices=SCORINGS, value="auto")
        fields.add(
            gr.Radio,
            "executor",
            "Where it runs",
            "px-executor",
            choices=[("This machine", "local"), ("A Ray cluster", "ray")],
            value="local",
            visible=free,
        )
