"""Reading a form's values: one rule and one sentence for all tabs.

What a spec allows is asked of its type; a public deployment's tighter limits stand in the tabs.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from app.services.settings import Settings
from prism_core.errors import InputError
from prism_core.models.sources import EMBEDDED
from prism_core.utils.validation import range_of

T = TypeVar("T")

_MOST = 1e12


def read_number(
    label: str, value: object, low: float | None = None, high: float | None = None
) -> float:
    """Return a field's number, within the limits that are given.

    Raises:
        InputError: it is empty, no number, or outside; the message names the field and quotes it.
    """
    return _read(label, value, False, low, high)


def read_whole(label: str, value: object, low: int | None = None, high: int | None = None) -> int:
    """Return a field's whole number, within the limits that are given.

    Raises:
        InputError: it is empty, no whole number, or outside; the message quotes it.
    """
    return int(_read(label, value, True, low, high))


def _read(label: str, value: object, whole: bool, low: float | None, high: float | None) -> float:
    kind = "a whole number" if whole else "a number"
    kind += "" if low is None else f" from {low:,.10g}"
    kind += "" if high is None else f" to {high:,.10g}"
    if value is None or value == "":
        raise InputError(f"{label} is empty; it must be {kind}.")
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    outside = (low is not None and number < low) or (high is not None and number > high)
    broken = whole and not number.is_integer()
    if not math.isfinite(number) or abs(number) > _MOST or outside or broken:
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        raise InputError(f"{label} is '{shown[:40]}'; it must be {kind}.")
    return int(number) if whole else number


def read_field(kind: type, name: str, value: object, labels: Mapping[str, str]) -> Any:
    """Read a field of a spec: a text, or a number within the limits that its type states.

    Raises:
        InputError: it is no number, or outside; the message names the field as the form does.
    """
    default = getattr(kind(), name)
    if isinstance(default, str):
        return str(value or "").strip()
    low, high = range_of(kind, name)
    return _read(label_of(name, labels), value, isinstance(default, int), low, high)


def label_of(field: str, labels: Mapping[str, str]) -> str:
    """Return a field's name as a form shows it."""
    return labels.get(field, field.replace("_", " ").capitalize())


def within(spec: T, most: Mapping[str, float]) -> T:
    """Return the spec with what exceeds a deployment's limits lowered to them."""
    found: Any = spec
    return replace(found, **{n: min(getattr(spec, n), limit) for n, limit in most.items()})


def public_sentence(settings: Settings, noun: str, most: str) -> str:
    """Say what a public deployment limits; empty elsewhere."""
    if not settings.public:
        return ""
    return (
        f"This is a public copy, so {noun} are small: at most {most} and "
        f"{settings.max_unfinished} unfinished {noun} a visitor. {settings.disk_note}".strip()
    )


def check_within(spec: object, most: Mapping[str, float], labels: Mapping[str, str]) -> None:
    """Refuse, by an `InputError`, a number beyond the limits of a public deployment."""
    for name, limit in most.items():
        value, label = getattr(spec, name), label_of(name, labels)
        if value > limit:
            raise InputError(f"{label} is {value}; at most {limit} is allowed on this public copy.")


def check_listed(model: str, settings: Settings) -> None:
    """Refuse, by an `InputError`, a model that this deployment does not list."""
    if model not in settings.models:
        allowed = ", ".join(settings.models)
        raise InputError(f"The model '{model[:80]}' cannot be used here. Allowed: {allowed}.")


def check_offered(model: str, settings: Settings) -> str:
    """Return a readable model reference; on a public copy only one that it lists.

    Raises:
        InputError: it is not readable, or not listed.
    """
    readable = check_model(model)
    if settings.public:
        check_listed(readable, settings)
    return readable


def find_preset(presets: Mapping[Any, T], name: str) -> T:
    """Return a preset by name; an `InputError` if there is none."""
    if name not in presets:
        raise InputError(f"There is no preset '{name[:40]}'; choose one of {', '.join(presets)}.")
    return presets[name]


def check_model(reference: str) -> str:
    """Return a model reference if it is readable; where it leads is checked when it is loaded.

    Raises:
        InputError: empty, far too long, or with invisible characters.
    """
    text = str(reference or "").strip()
    if not text:
        raise InputError(f"No model is chosen. Choose '{EMBEDDED}' for the one that comes along.")
    if len(text) > 300 or any(unicodedata.category(c)[0] == "C" for c in text):
        shown = "".join(c for c in text[:40] if c.isprintable())
        raise InputError(f"'{shown}' is not a model: use at most 300 visible characters.")
    return text
