"""The Train form's raw values turned into a checked `TrainSpec`, and the limits of this deployment.

Nothing here knows Gradio. Values may come from the page or straight over HTTP, so limits are
enforced here and not by the sliders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from app.common.form_values import check_model, read_number, read_whole
from app.services.settings import Settings
from prism_core.errors import InputError
from prism_core.personas.library import dump_persona, get_persona
from prism_core.prism.spec import PRESETS, TrainSpec, check_spec
from prism_core.types import Persona

WHOLE = (
    "queries_per_persona",
    "answer_tokens",
    "rank",
    "alpha",
    "epochs",
    "batch_size",
    "max_tokens",
    "top_k",
    "rounds",
    "seed",
)
REAL = ("held_out_share", "learning_rate", "temperature")
WORDS = ("preset", "judge", "feature", "length", "placement")
TEXTS = ("name", "model", "remote_model")
FORM_FIELDS: tuple[str, ...] = (*WORDS, *TEXTS, *WHOLE, *REAL)
"""The fields of a spec that the form sets one by one, in the form's order."""
MAX_NAME = 80
_LABELS = {
    "queries_per_persona": "Queries a persona",
    "answer_tokens": "Longest answer",
    "held_out_share": "Share held out",
    "max_tokens": "Longest training text",
    "top_k": "Teacher's tokens",
}


@dataclass(frozen=True)
class TrainLimits:
    """What a visitor may ask for here, beyond what a run can do at all."""

    queries_per_persona: int = 500
    """Most queries a persona."""
    answer_tokens: int = 2048
    """Longest answers."""
    epochs: int = 50
    """Most passes over the distil set."""
    rank: int = 128
    """Largest LoRA rank."""
    rounds: int = 5
    """Most rounds."""
    max_tokens: int = 8192
    """Longest prompt and answer in training."""
    remote_judge: bool = True
    """Whether the deployment's remote model may judge."""


OPEN_LIMITS = TrainLimits()
PUBLIC_LIMITS = TrainLimits(
    queries_per_persona=8,
    answer_tokens=128,
    epochs=5,
    rank=16,
    rounds=1,
    max_tokens=1024,
    remote_judge=False,
)


def limits_of(settings: Settings) -> TrainLimits:
    """The limits of this deployment."""
    return PUBLIC_LIMITS if settings.public else OPEN_LIMITS


def limits_sentence(settings: Settings) -> str:
    """What a public deployment limits, as a sentence; empty elsewhere."""
    if not settings.public:
        return ""
    top = PUBLIC_LIMITS
    return (
        "This is a public copy, so runs are small: at most "
        f"{top.queries_per_persona} queries a persona, answers of {top.answer_tokens} tokens, "
        f"{top.epochs} epochs, rank {top.rank}, one round, and "
        f"{settings.max_unfinished} unfinished runs a visitor. Its disk may be emptied at any "
        "restart: download what you want to keep."
    )


def label_of(field: str) -> str:
    """A field's name as the form shows it."""
    return _LABELS.get(field, field.replace("_", " ").capitalize())


def spec_of(
    values: Mapping[str, Any],
    chosen: Sequence[str],
    personas: Mapping[str, Persona],
    library: Mapping[str, Persona],
    settings: Settings,
) -> TrainSpec:
    """The run that the form describes.

    Args:
        values: the value of every one of `FORM_FIELDS`.
        chosen: names of the personas.
        personas: the library and the visitor's own.
        library: the shipped personas.
        settings: decides the limits.

    Raises:
        InputError: a value is missing or not allowed; the message quotes it and says what is.
        NotFoundError: there is no persona of that name.
    """
    found: dict[str, Any] = {}
    for name in (*WORDS, *TEXTS):
        found[name] = str(values.get(name) or "").strip()
    for name in (*WHOLE, *REAL):
        found[name] = _number(name, values.get(name))
    found["model"] = check_model(found["model"])
    _check_name(found["name"])
    for name in chosen:
        get_persona(name, dict(personas))
    found["personas"] = tuple(n for n in dict.fromkeys(chosen) if n in library)
    own = [personas[n] for n in dict.fromkeys(chosen) if n not in library]
    found["own_personas"] = tuple(dump_persona(p) for p in own)
    if found["preset"] == "demo":
        found["personas"], found["own_personas"] = (), ()
        found["judge"] = "verifiable"
    spec = check_spec(TrainSpec(**found))
    _check_limits(spec, limits_of(settings), settings)
    _check_texts(spec, [personas[n] for n in chosen])
    return spec


def preset_values(preset: str, model: str) -> TrainSpec:
    """The spec that a preset fills the form with; the model stays as chosen.

    Raises:
        InputError: there is no such preset.
    """
    for name, spec in PRESETS.items():
        if name == preset:
            return replace(spec, model=model)
    raise InputError(f"There is no preset '{preset[:40]}'; choose one of {', '.join(PRESETS)}.")


def within(spec: TrainSpec, settings: Settings) -> TrainSpec:
    """The spec with what exceeds this deployment's limits lowered to them."""
    limits = limits_of(settings)
    changes = {
        f.name: min(getattr(spec, f.name), getattr(limits, f.name))
        for f in fields(limits)
        if hasattr(spec, f.name)
    }
    return replace(spec, **changes)


def _check_limits(spec: TrainSpec, limits: TrainLimits, settings: Settings) -> None:
    for field in fields(limits):
        if not hasattr(spec, field.name):
            continue
        value, most = getattr(spec, field.name), getattr(limits, field.name)
        if value > most:
            where = " on this public copy" if settings.public else ""
            name = label_of(field.name)
            raise InputError(f"{name} is {value}; at most {most} is allowed{where}.")
    if spec.judge == "remote" and not limits.remote_judge:
        raise InputError("The judge 'remote' cannot be used on this public copy; choose 'self'.")
    if settings.public and spec.model not in settings.models:
        allowed = ", ".join(settings.models)
        raise InputError(f"The model '{spec.model[:80]}' cannot be used here. Allowed: {allowed}.")


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


def _check_name(name: str) -> None:
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InputError(
            f"The name '{name[:40]}' is not allowed: use 1 to {MAX_NAME} visible characters."
        )


def _number(name: str, value: object) -> int | float:
    read = read_whole if name in WHOLE else read_number
    return read(label_of(name), value)
