"""The Train form's raw values turned into a checked `TrainSpec`, and the limits of this deployment.

Nothing here knows Gradio. Values may come from the page or straight over HTTP, so limits are
enforced here and not by the sliders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from app.common.form_values import (
    check_listed,
    check_model,
    check_within,
    find_preset,
    public_sentence,
    read_field,
    within,
)
from app.services.settings import Settings
from prism_core.errors import InputError
from prism_core.personas.library import dump_persona, get_persona
from prism_core.prism.spec import PRESETS, TrainSpec, check_spec
from prism_core.types import Persona
from prism_core.utils.validation import check_name, range_of

FORM_FIELDS = tuple(
    field.name for field in fields(TrainSpec) if field.name not in ("personas", "own_personas")
)
"""The fields of a spec that the form sets one by one, in the form's order."""
MAX_NAME = 80
PUBLIC_MOST = {
    "queries_per_persona": 8,
    "answer_tokens": 128,
    "epochs": 5,
    "rank": 16,
    "rounds": 1,
    "max_tokens": 1024,
}
"""What a visitor of a public copy may ask for."""
_LABELS = {
    "queries_per_persona": "Queries a persona",
    "answer_tokens": "Longest answer",
    "held_out_share": "Share held out",
    "max_tokens": "Longest training text",
    "top_k": "Teacher's tokens",
}


def range_here(field: str, settings: Settings) -> tuple[float, float]:
    """Return the least and the largest number that may stand in a field on this deployment."""
    low, high = range_of(TrainSpec, field)
    return low, min(high, PUBLIC_MOST.get(field, high)) if settings.public else high


def limits_sentence(settings: Settings) -> str:
    """Say what a public deployment limits; empty elsewhere."""
    most = PUBLIC_MOST
    return public_sentence(
        settings,
        "runs",
        f"{most['queries_per_persona']} queries a persona, answers of {most['answer_tokens']} "
        f"tokens, {most['epochs']} epochs, rank {most['rank']}, one round,",
    )


def spec_of(
    values: Mapping[str, Any],
    chosen: Sequence[str],
    personas: Mapping[str, Persona],
    library: Mapping[str, Persona],
    settings: Settings,
) -> TrainSpec:
    """Return the run that the form's values and the names of the chosen personas describe.

    Of `personas`, those that are not in the `library` are the visitor's own.

    Raises:
        InputError: a value is missing or not allowed; the message quotes it and says what is.
        NotFoundError: there is no persona of that name.
    """
    found = {name: read_field(TrainSpec, name, values.get(name), _LABELS) for name in FORM_FIELDS}
    found["model"] = check_model(found["model"])
    check_name(found["name"], MAX_NAME)
    for name in chosen:
        get_persona(name, dict(personas))
    found["personas"] = tuple(n for n in dict.fromkeys(chosen) if n in library)
    own = [personas[n] for n in dict.fromkeys(chosen) if n not in library]
    found["own_personas"] = tuple(dump_persona(p) for p in own)
    if found["preset"] == "demo":
        found["personas"], found["own_personas"] = (), ()
        found["judge"] = "verifiable"
    spec = check_spec(TrainSpec(**found))
    if settings.public:
        check_within(spec, PUBLIC_MOST, _LABELS)
        if spec.judge == "remote":
            raise InputError(
                "The judge 'remote' cannot be used on this public copy; choose 'self'."
            )
        check_listed(spec.model, settings)
    _check_texts(spec, [personas[n] for n in chosen])
    return spec


def preset_values(preset: str, model: str, settings: Settings) -> TrainSpec:
    """Return the spec that a preset fills the form with here; the model stays as chosen.

    Raises:
        InputError: there is no such preset.
    """
    spec = replace(find_preset(PRESETS, preset), model=model)
    return within(spec, PUBLIC_MOST) if settings.public else spec


def _check_texts(spec: TrainSpec, personas: Sequence[Persona]) -> None:
    if spec.preset == "demo":
        return
    for persona in personas:
        if persona.kind == "control":
            raise InputError(f"'{persona.title}' is a control, which has no expertise to distil.")
        if not persona.texts.get(spec.length):
            raise InputError(
                f"'{persona.title}' has no text of the length '{spec.length}'. Choose another "
                "length, or leave this persona out."
            )
