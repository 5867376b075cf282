"""The Study form's raw values turned into a checked `StudySpec`, and this deployment's limits.

Nothing here knows Gradio. Values may come from the page or straight over HTTP, and a spec may come
as YAML, so limits are enforced here and not by the fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.common.form_values import check_model, read_number, read_whole
from app.services.adapter_shelf import PREFIX as SHIPPED_ADAPTER
from app.services.settings import Settings
from prism_core.errors import InputError
from prism_core.personas.library import dump_persona, get_persona
from prism_core.study.plan import StudyPlan
from prism_core.study.spec import RANGES as SPEC_RANGES
from prism_core.study.spec import AdapterArm, StudySpec, check_spec
from prism_core.study.spec_yaml import from_yaml
from prism_core.types import Persona

STUDY_FIELDS: tuple[str, ...] = (
    "name",
    "models",
    "tasks",
    "personas",
    "lengths",
    "placements",
    "adapters",
    "threshold",
    "sweep",
    "n_per_category",
    "repeats",
    "temperature",
    "judge",
    "judgements",
    "max_new_tokens",
    "scoring",
    "delta",
    "item_seed",
    "executor",
)
"""The values of the form, in its order."""
LABELS = {
    "n_per_category": "Items of each category",
    "repeats": "Repeats",
    "max_new_tokens": "Longest answer",
    "delta": "Margin",
    "item_seed": "Seed of the items",
    "threshold": "Threshold",
    "temperature": "Temperature",
}
MAX_REPEATS = 20
RANGES = {name: (low, high) for name, low, high in SPEC_RANGES} | {"threshold": (0.0, 1.0)}
"""What a spec allows, and so what the form says is allowed."""


@dataclass(frozen=True)
class StudyLimits:
    """What a visitor may ask for here, beyond what a study can do at all."""

    answers: int = 2_000_000
    """Answers in all."""
    new_tokens: int = 2_000_000_000
    """Tokens to be written in all."""
    cells: int = 5_000
    """Cells in all."""
    free: bool = True
    """Whether any model, judge, adapter's path and executor may be named."""


OPEN_LIMITS = StudyLimits()
PUBLIC_LIMITS = StudyLimits(answers=4_000, new_tokens=60_000, cells=30, free=False)


def study_limits(settings: Settings) -> StudyLimits:
    """The limits of this deployment."""
    return PUBLIC_LIMITS if settings.public else OPEN_LIMITS


def study_limits_sentence(settings: Settings) -> str:
    """What a public deployment limits, as a sentence; empty elsewhere."""
    if not settings.public:
        return ""
    top = PUBLIC_LIMITS
    return (
        f"This is a public copy, so studies are small: at most {top.cells} cells, "
        f"{top.answers:,} answers, {top.new_tokens:,} tokens to write and "
        f"{settings.max_unfinished} unfinished studies a visitor. Its disk may be emptied at any "
        "restart: download what you want to keep."
    )


def study_of(
    values: Mapping[str, Any],
    personas: Mapping[str, Persona],
    library: Mapping[str, Persona],
    settings: Settings,
) -> StudySpec:
    """The study that the form describes.

    Args:
        values: the value of every one of `STUDY_FIELDS`.
        personas: the library and the visitor's own.
        library: the shipped personas.
        settings: decides the limits.

    Raises:
        InputError: a value is missing or not allowed; the message quotes it and says what is.
        NotFoundError: there is no persona of that name.
    """
    chosen = _texts(values.get("personas"))
    for name in chosen:
        get_persona(name, dict(personas))
    repeats = _whole("repeats", values.get("repeats"), 1, MAX_REPEATS)
    temperature = _real("temperature", values.get("temperature"))
    judge = str(values.get("judge") or "").strip()
    spec = StudySpec(
        name=str(values.get("name") or "").strip(),
        models=tuple(check_model(m) for m in _texts(values.get("models"))),
        tasks=_texts(values.get("tasks")),
        personas=tuple(n for n in chosen if n in library),
        own_personas=tuple(dump_persona(personas[n]) for n in chosen if n not in library),
        lengths=_texts(values.get("lengths")),  # type: ignore[arg-type]  # check_spec checks
        placements=_texts(values.get("placements")),  # type: ignore[arg-type]  # as above
        adapters=_adapters(values),
        sweep=bool(values.get("sweep")),
        n_per_category=_whole("n_per_category", values.get("n_per_category"), 1, 5_000),
        seeds=tuple(range(repeats)),
        temperature=temperature,
        judges=(judge,) if judge else (),
        judgements=_texts(values.get("judgements")) if judge else ("pairwise",),  # type: ignore[arg-type]
        max_new_tokens=_whole("max_new_tokens", values.get("max_new_tokens"), 1, 4_096),
        scoring=str(values.get("scoring") or "auto"),  # type: ignore[arg-type]  # as above
        delta=_real("delta", values.get("delta")),
        item_seed=_whole("item_seed", values.get("item_seed"), 0, 2**31 - 1),
        executor=str(values.get("executor") or "local"),  # type: ignore[arg-type]  # as above
    )
    _check_repeats(repeats, temperature)
    return check_here(check_spec(spec), settings)


def study_of_yaml(text: object, settings: Settings) -> StudySpec:
    """The study that a pasted or uploaded spec describes.

    Raises:
        InputError: it is no spec, or asks for what is not allowed here.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError("Paste a spec, or upload one. 'Fill in from the form' writes one for you.")
    return check_here(from_yaml(text), settings)


def check_here(spec: StudySpec, settings: Settings) -> StudySpec:
    """Refuse what this deployment does not allow, as far as the spec alone shows it.

    Raises:
        InputError: it asks for too much.
    """
    if study_limits(settings).free:
        return spec
    for model in spec.models:
        if model not in settings.models:
            allowed = ", ".join(settings.models)
            raise InputError(f"The model '{model[:80]}' cannot be used here. Allowed: {allowed}.")
    for judge in spec.judges:
        if judge not in ("self", *settings.models):
            raise InputError(f"The judge '{judge[:80]}' cannot be used here; choose 'self'.")
    if spec.executor != "local":
        raise InputError("A public copy runs studies on this machine alone; choose 'local'.")
    return spec


def check_size(plan: StudyPlan, settings: Settings) -> None:
    """Refuse a study that is too large for this deployment.

    Raises:
        InputError: it is; the message says by how much.
    """
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


def _adapters(values: Mapping[str, Any]) -> tuple[AdapterArm, ...]:
    given = str(values.get("threshold") or "").strip()
    threshold = _real("threshold", given) if given else None
    names = [n.removeprefix(SHIPPED_ADAPTER) for n in _texts(values.get("adapters"))]
    return tuple(AdapterArm(name, threshold) for name in names)


def _check_repeats(repeats: int, temperature: float) -> None:
    if repeats > 1 and temperature == 0:
        raise InputError(
            f"{repeats} repeats at temperature 0 would all be the same answer. Choose one repeat, "
            "or a temperature above 0."
        )


def _texts(value: object) -> tuple[str, ...]:
    items: Sequence[object] = value if isinstance(value, list | tuple) else ()
    return tuple(dict.fromkeys(str(v).strip() for v in items if str(v).strip()))


def _real(name: str, value: object) -> float:
    return read_number(LABELS[name], value, *RANGES[name])


def _whole(name: str, value: object, low: int, high: int) -> int:
    return read_whole(LABELS[name], value, low, high)
