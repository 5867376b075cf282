"""The personas, lengths and placements that forms offer, a visitor's own included."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from prism_core.errors import InputError
from prism_core.personas.library import make_persona
from prism_core.types import Persona

MAX_OWN_PERSONAS = 100

LENGTH_CHOICES = [("Minimal", "min"), ("Short", "short"), ("Long", "long")]
PLACEMENT_CHOICES = [("System turn", "system"), ("User turn", "user")]


def persona_choices(
    personas: Mapping[str, Persona], shipped: Mapping[str, Persona]
) -> list[tuple[str, str]]:
    """Return the personas to ask as: experts, behaviours and the visitor's own."""
    choices = [(p.title, p.name) for p in shipped.values() if p.kind != "control"]
    own = [p for p in personas.values() if p.name not in shipped and p.kind != "control"]
    return choices + [(f"{p.title} (yours)", p.name) for p in own]


def control_choices(personas: Mapping[str, Persona]) -> list[tuple[str, str]]:
    """Return the texts that the control arm can use."""
    return [(p.title, p.name) for p in personas.values() if p.kind == "control"]


def keep_known(chosen: object, known: Container[str]) -> list[Any]:
    """Return what of a visitor's choice is still offered."""
    return [name for name in chosen if name in known] if isinstance(chosen, list) else []


def merge_personas(library: Mapping[str, Persona], own: object) -> dict[str, Persona]:
    """Join the shipped personas and a visitor's own, whose browser may have been tampered with.

    A visitor's persona never hides a shipped one; what does not pass the checks is left out.
    """
    merged = dict(library)
    for data in own[:MAX_OWN_PERSONAS] if isinstance(own, list) else []:
        if not isinstance(data, dict):
            continue
        try:
            persona = make_persona(data)
        except InputError:
            continue
        merged.setdefault(persona.name, persona)
    return merged
