"""The form of the Study tab: the fields that make up a `StudySpec`, or the spec itself as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.common.persona_choices import LENGTH_CHOICES, PLACEMENT_CHOICES
from app.common.run_start import MEASURE
from app.common.shared import fragment
from app.services.settings import Settings
from app.study.form import STUDY_FIELDS, study_limits, study_limits_sentence
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
class StudyForm:
    """The form's components."""

    fold: gr.Accordion
    mode: gr.Radio
    form_box: gr.Column
    yaml_box: gr.Column
    by_name: Mapping[str, Component]
    yaml: gr.Textbox
    yaml_file: gr.UploadButton
    yaml_fill: gr.Button
    plan: gr.HTML
    measuring: gr.HTML
    measure: gr.Button
    start: gr.Button
    status: gr.HTML

    @property
    def fields(self) -> list[Component]:
        """The inputs that make up a spec: mode, YAML, then `STUDY_FIELDS`."""
        return [self.mode, self.yaml, *(self.by_name[name] for name in STUDY_FIELDS)]


def study_personas(
    personas: Mapping[str, Persona], library: Mapping[str, Persona]
) -> list[tuple[str, str]]:
    """The personas that a study can use, controls marked as such."""
    found = []
    for persona in personas.values():
        mark = " (control)" if persona.kind == "control" else ""
        found.append(
            (persona.title + (mark if persona.name in library else " (yours)"), persona.name)
        )
    return found


def build_study_form(
    settings: Settings, library: Mapping[str, Persona], adapters: list[tuple[str, str]]
) -> StudyForm:
    """Lay the form out."""
    parts: dict[str, Any] = {}
    with (
        gr.Accordion("Set up a study", open=True, elem_id="px-study-setup") as fold,
        gr.Row(elem_classes="px-train-setup", equal_height=False),
    ):
        with gr.Column(elem_classes="px-card", scale=3, min_width=320):
            parts |= _left(settings, library, adapters)
        with gr.Column(elem_classes="px-card", scale=2, min_width=320):
            parts["plan"] = fragment(elem_id="px-study-plan")
            parts["measuring"] = fragment(elem_id="px-study-measuring")
            parts["measure"] = gr.Button(MEASURE, size="sm", elem_id="px-study-measure")
    return StudyForm(fold=fold, **parts)


def _left(
    settings: Settings, library: Mapping[str, Persona], adapters: list[tuple[str, str]]
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
    by_name: dict[str, Component] = {}
    with gr.Column(elem_classes="px-people") as form_box:
        by_name |= _what(settings, library)
        by_name |= _who(adapters)
        by_name |= _how(settings)
        with gr.Accordion("Advanced", open=False, elem_id="px-study-more"):
            by_name |= _advanced(settings)
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
    parts |= {"form_box": form_box, "yaml_box": yaml_box, "by_name": by_name}
    parts["status"] = fragment(elem_id="px-study-start-status")
    parts["start"] = gr.Button(
        "Start the study", variant="primary", size="lg", elem_id="px-study-start"
    )
    return parts


def _what(settings: Settings, library: Mapping[str, Persona]) -> dict[str, Component]:
    free = study_limits(settings).free
    found: dict[str, Component] = {}
    with gr.Row(elem_classes="px-row"):
        found["name"] = gr.Textbox("My study", label="Name", max_lines=1, elem_id="px-study-name")
        found["models"] = gr.Dropdown(
            list(settings.models),
            value=[settings.default_model],
            multiselect=True,
            label="Models",
            allow_custom_value=free,
            elem_id="px-study-models",
            info="Or a Hub id, a folder, or remote:NAME." if free else None,
        )
    found["tasks"] = gr.Dropdown(
        [(task.title, name) for name, task in TASKS.items()],
        value=["knowledge", "safety"],
        multiselect=True,
        label="Tasks",
        elem_id="px-study-tasks",
    )
    found["personas"] = gr.Dropdown(
        study_personas(library, library),
        value=list(FIRST_PERSONAS),
        multiselect=True,
        label="Personas",
        elem_id="px-study-personas",
        info="With a control you learn whether it is the persona, or just a long prompt.",
    )
    with gr.Row(elem_classes="px-row"):
        found["lengths"] = gr.CheckboxGroup(
            LENGTH_CHOICES, value=["long"], label="Lengths", elem_id="px-study-lengths"
        )
        found["placements"] = gr.CheckboxGroup(
            PLACEMENT_CHOICES, value=["system"], label="Placements", elem_id="px-study-placements"
        )
    return found


def _who(adapters: list[tuple[str, str]]) -> dict[str, Component]:
    found: dict[str, Component] = {}
    with gr.Row(elem_classes="px-row"):
        found["adapters"] = gr.Dropdown(
            adapters,
            value=[],
            multiselect=True,
            label="PRISM adapters",
            elem_id="px-study-adapters",
            info="They answer with their gate on.",
        )
        # A number field shows an empty value as 0, and 0 means "always open".
        found["threshold"] = gr.Textbox(
            "",
            label="Threshold",
            info="From 0 to 1; empty takes each adapter's own.",
            max_lines=1,
            elem_id="px-study-threshold",
            min_width=140,
        )
    found["sweep"] = gr.Checkbox(
        False,
        label="Answer with the gate held open too, so that every threshold is known",
        container=False,
        elem_id="px-study-sweep",
    )
    return found


def _how(settings: Settings) -> dict[str, Component]:
    found: dict[str, Component] = {}
    with gr.Row(elem_classes="px-row"):
        found["n_per_category"] = gr.Number(
            20,
            label="Items of each category",
            precision=0,
            elem_id="px-study-n",
            info="Below 20 no verdict is given.",
        )
        found["repeats"] = gr.Number(
            1, label="Repeats of written answers", precision=0, elem_id="px-study-repeats"
        )
        found["temperature"] = gr.Number(
            0.0, label="Temperature", step=0.1, elem_id="px-study-temperature"
        )
    free = study_limits(settings).free
    with gr.Row(elem_classes="px-row"):
        found["judge"] = gr.Dropdown(
            JUDGES,
            value="",
            label="Judge of written answers",
            allow_custom_value=free,
            elem_id="px-study-judge",
            info="Or a model's reference." if free else None,
        )
        found["judgements"] = gr.CheckboxGroup(
            JUDGEMENTS,
            value=["pairwise"],
            label="What it is asked",
            visible=False,
            elem_id="px-study-judgements",
        )
    return found


def _advanced(settings: Settings) -> dict[str, Component]:
    found: dict[str, Component] = {}
    with gr.Row(elem_classes="px-row"):
        found["max_new_tokens"] = gr.Number(
            96, label="Longest answer (tokens)", precision=0, elem_id="px-study-tokens"
        )
        found["delta"] = gr.Number(
            0.05,
            label="Margin of “no worse”",
            step=0.01,
            info="Chosen before the data are seen.",
            elem_id="px-study-delta",
        )
        found["item_seed"] = gr.Number(
            0, label="Seed of the items", precision=0, elem_id="px-study-seed"
        )
    with gr.Row(elem_classes="px-row"):
        found["scoring"] = gr.Radio(SCORINGS, value="auto", label="How choices are read")
        found["executor"] = gr.Radio(
            [("This machine", "local"), ("A Ray cluster", "ray")],
            value="local",
            label="Where it runs",
            visible=study_limits(settings).free,
            elem_id="px-executor",
        )
    return found
