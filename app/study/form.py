"""The Study form's raw values turned into a checked `StudySpec`, and this deployment's limits.

Nothing here knows Gradio. Values may come from the page or straight over HTTP, and a spec may come
as YAML, so limits are enforced here and not by the fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.common.form_values import (
    check_listed,
    check_model,
    public_sentence,
    read_field,
    read_number,
    read_whole,
)
from app.services.settings import SHIPPED_PREFIX, Settings
from prism_core.errors import InputError
from prism_core.personas.library import dump_persona, get_persona
from prism_core.study.plan import StudyPlan
from prism_core.study.spec import MAX_CELLS, StudySpec, check_spec, from_yaml
from prism_core.types import Persona
from prism_core.utils.validation import build, range_of

_LABELS = {
    "n_per_category": "Items of each category",
    "repeats": "Repeats",
    "max_new_tokens": "Longest answer",
    "delta": "Margin",
    "item_seed": "Seed of the items",
}
_ALONE = ("name", "temperature", "max_new_tokens", "scoring", "delta", "item_seed", "executor")
"""The fields whose values go into the spec as they are."""
MAX_REPEATS = 20


@dataclass(frozen=True)
class StudyLimits:
    """What a visitor may ask for here, beyond what a study can do at all."""

    answers: int = 2_000_000
    new_tokens: int = 2_000_000_000
    cells: int = MAX_CELLS
    free: bool = True
    """Whether any model, judge, adapter's path and executor may be named."""


OPEN_LIMITS = StudyLimits()
PUBLIC_LIMITS = StudyLimits(answers=4_000, new_tokens=60_000, cells=30, free=False)


def study_limits(settings: Settings) -> StudyLimits:
    """Return the limits of this deployment."""
    return PUBLIC_LIMITS if settings.public else OPEN_LIMITS


def study_limits_sentence(settings: Settings) -> str:
    """Say what a public deployment limits; empty elsewhere."""
    top = PUBLIC_LIMITS
    return public_sentence(
        settings,
        "studies",
        f"{top.cells} cells, {top.answers:,} answers, {top.new_tokens:,} tokens to write",
    )


def study_of(
    values: Mapping[str, Any],
    personas: Mapping[str, Persona],
    library: Mapping[str, Persona],
    settings: Settings,
) -> StudySpec:
    """Return the study that the values of the form's fields describe.

    Of `personas`, those that are not in the `library` are the visitor's own.

    Raises:
        InputError: a value is missing or not allowed; the message quotes it and says what is.
        NotFoundError: there is no persona of that name.
    """
    chosen = _texts(values.get("personas"))
    for name in chosen:
        get_persona(name, dict(personas))
    repeats = read_whole(_LABELS["repeats"], values.get("repeats"), 1, MAX_REPEATS)
    data = {name: read_field(StudySpec, name, values.get(name), _LABELS) for name in _ALONE}
    # In a spec 0 means all there are; nobody is to type that by accident.
    most = int(range_of(StudySpec, "n_per_category")[1])
    data["n_per_category"] = read_whole(
        _LABELS["n_per_category"], values.get("n_per_category"), 1, most
    )
    if repeats > 1 and data["temperature"] == 0:
        raise InputError(
            f"{repeats} repeats at temperature 0 would all be the same answer. Choose one repeat, "
            "or a temperature above 0."
        )
    threshold = str(values.get("threshold") or "").strip()
    arm = {"threshold": read_number("Threshold", threshold, 0, 1)} if threshold else {}
    judge = str(values.get("judge") or "").strip()
    data |= {
        "models": [check_model(m) for m in _texts(values.get("models"))],
        "tasks": _texts(values.get("tasks")),
        "personas": [n for n in chosen if n in library],
        "own_personas": [dump_persona(personas[n]) for n in chosen if n not in library],
        "lengths": _texts(values.get("lengths")),
        "placements": _texts(values.get("placements")),
        "adapters": [
            {"reference": name.removeprefix(SHIPPED_PREFIX), **arm}
            for name in _texts(values.get("adapters"))
        ],
        "sweep": bool(values.get("sweep")),
        "seeds": list(range(repeats)),
        "judges": [judge] if judge else [],
        "judgements": _texts(values.get("judgements")) if judge else ["pairwise"],
    }
    return check_here(check_spec(build(StudySpec, data)), settings)


def study_of_yaml(text: object, settings: Settings) -> StudySpec:
    """Return the study that a pasted or uploaded spec describes.

    Raises:
        InputError: it is not a spec, or asks for what is not allowed here.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError("Paste a spec, or upload one. 'Fill in from the form' writes one for you.")
    return check_here(from_yaml(text), settings)


def check_here(spec: StudySpec, settings: Settings) -> StudySpec:
    """Refuse, by an `InputError`, what is not allowed here as far as the spec alone shows it."""
    if study_limits(settings).free:
        return spec
    for model in spec.models:
        check_listed(model, settings)
    for judge in spec.judges:
        if judge not in ("self", *settings.models):
            raise InputError(f"The judge '{judge[:80]}' cannot be used here; choose 'self'.")
    if spec.executor != "local":
        raise InputError("A public copy runs studies on this machine alone; choose 'local'.")
    return spec


def check_size(plan: StudyPlan, settings: Settings) -> None:
    """Refuse, by an `InputError`, a study that is too large for this deployment."""
    limits = study_limits(settings)
    for what, value, most in (
        ("cells", plan.cells, limits.cells),
        ("answers", plan.answers, limits.answers),
        ("tokens to write", plan.new_tokens, limits.new_tokens),
    ):
        if value > most:
            raise InputError(
                f"This study has {value:,} {what}; at most {most:,} are allowed here. Choose "
                "fewer personas, lengths, placements, items or repeats."
            )


def _texts(value: object) -> tuple[str, ...]:
    items: Sequence[object] = value if isinstance(value, list | tuple) else ()
    return tuple(dict.fromkeys(str(v).strip() for v in items if str(v).strip()))
