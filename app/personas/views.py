"""A persona to read: what it is, and its text at each length with the number of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.common.text import count, escape
from prism_core.types import LENGTHS, Length, Persona, PersonaKind

Count = Callable[[str], int | None]
"""Tokens of a text, or None where they cannot be counted."""

KINDS: Mapping[PersonaKind, str] = {
    "expert": "Expert",
    "behaviour": "Behaviour",
    "control": "Control",
}
LENGTH_NAMES: Mapping[Length, str] = {"min": "Minimal", "short": "Short", "long": "Long"}
AIMS: Mapping[Length, int] = {"min": 5, "short": 75, "long": 150}
"""Tokens that a text of each length should have."""


def choices(library: Mapping[str, Persona], own: Mapping[str, Persona]) -> list[tuple[str, str]]:
    """Return all personas for the picker: shipped ones by kind, then the visitor's own."""
    shipped = [(f"{p.title} · {KINDS[p.kind]}", p.name) for p in library.values()]
    return shipped + [(f"{p.title} · {KINDS[p.kind]} (yours)", p.name) for p in own.values()]


def sheet(persona: Persona | None, is_own: bool, count_tokens: Count) -> str:
    """Show everything about one persona."""
    if persona is None:
        return '<p class="px-help">Choose a persona to read it.</p>'
    owner = " · yours" if is_own else ""
    topics = ""
    if persona.subtopics:
        size = count(len(persona.subtopics), "topic")
        topics = (
            f'<details class="px-told"><summary>{size} within its domain</summary>'
            f'<p dir="auto">{escape(", ".join(persona.subtopics))}</p></details>'
        )
    texts = "".join(_text(persona, length, count_tokens) for length in LENGTHS)
    return (
        f'<article class="px-sheet"><header><h2 dir="auto">{escape(persona.title)}</h2>'
        f'<p class="px-help">{KINDS[persona.kind]}{owner} · {escape(persona.domain)} · '
        f"<code>{escape(persona.name)}</code></p></header>{texts}{topics}</article>"
    )


def _text(persona: Persona, length: Length, count_tokens: Count) -> str:
    text = persona.texts.get(length, "")
    heading = f"<h3>{LENGTH_NAMES[length]}"
    if not text:
        return f'<section>{heading}</h3><p class="px-help">No text of this length.</p></section>'
    tokens = count_tokens(text)
    size = count(tokens, "token") if tokens is not None else count(len(text.split()), "word")
    return (
        f'<section>{heading} <small data-length="{length}">{size}</small></h3>'
        f'<p class="px-text" dir="auto">{escape(text)}</p></section>'
    )


def counts_line(texts: Mapping[Length, str], count_tokens: Count) -> str:
    """Say how many tokens each text has so far, beside what it should have."""
    parts = []
    for length in LENGTHS:
        tokens = count_tokens(texts.get(length, ""))
        if tokens is not None:
            parts.append(
                f"{LENGTH_NAMES[length]}: <b>{tokens:,}</b> of about {AIMS[length]} tokens"
            )
    return f'<p class="px-help">{" · ".join(parts)}</p>' if parts else ""
