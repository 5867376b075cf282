"""The library of personas: read from YAML, checked, written back.

One YAML file a persona: name, title, kind, domain, subtopics and a text for each length. The same
checks guard the shipped files and what a visitor imports. Only plain YAML data is accepted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from prism_core.errors import InputError, NotFoundError
from prism_core.types import LENGTHS, PERSONA_KINDS, Persona

LIBRARY = Path(__file__).resolve().parent.parent / "assets" / "personas"
"""Where the shipped personas live."""

MAX_TEXT_CHARACTERS = 4_000
"""A persona's text may not be longer than this."""
MAX_YAML_CHARACTERS = 40_000
"""An imported file may not be longer than this."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def load_personas(folder: Path = LIBRARY) -> dict[str, Persona]:
    """All personas of a folder by name: experts, then behaviours, then controls.

    Raises:
        InputError: a file breaks the format; the message names the file.
    """
    found = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            found.append(parse_persona(path.read_text(encoding="utf-8")))
        except InputError as error:
            raise InputError(f"{path.name}: {error}") from error
    found.sort(key=lambda p: (PERSONA_KINDS.index(p.kind), p.name))
    return {p.name: p for p in found}


def get_persona(name: str, personas: dict[str, Persona]) -> Persona:
    """One persona by name.

    Raises:
        NotFoundError: there is none of that name; the message lists those there are.
    """
    if name not in personas:
        raise NotFoundError(f"There is no persona '{name}'. Choose one of: {', '.join(personas)}.")
    return personas[name]


def parse_persona(text: str) -> Persona:
    """Read one persona from YAML.

    Raises:
        InputError: not YAML, not a mapping, or a field is missing, too long or not allowed.
    """
    if len(text) > MAX_YAML_CHARACTERS:
        raise InputError(
            f"The YAML has {len(text):,} characters; at most {MAX_YAML_CHARACTERS:,} are allowed."
        )
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"This is not valid YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(data, dict):
        raise InputError("A persona's YAML must be a mapping with name, kind, domain and texts.")
    return make_persona(data)


def make_persona(data: dict[str, Any]) -> Persona:
    """Check a mapping's fields and build the persona.

    Raises:
        InputError: a field is missing or not allowed; the message quotes it.
    """
    name = _word(data, "name")
    if not _NAME.fullmatch(name):
        raise InputError(
            f"The name '{name[:60]}' is not allowed: use 1-40 lower-case letters, digits and "
            "underscores, beginning with a letter."
        )
    kind = _word(data, "kind", "expert")
    if kind not in PERSONA_KINDS:
        raise InputError(
            f"The kind '{kind[:60]}' is not allowed; it is one of {', '.join(PERSONA_KINDS)}."
        )
    subtopics = data.get("subtopics") or []
    if not isinstance(subtopics, list) or not all(isinstance(s, str) for s in subtopics):
        raise InputError("'subtopics' must be a list of short texts.")
    return Persona(
        name=name,
        title=_word(data, "title", name.replace("_", " ").capitalize()),
        kind=kind,
        domain=_word(data, "domain", "general questions"),
        texts=_texts(data.get("texts")),
        subtopics=tuple(s.strip()[:120] for s in subtopics[:64] if s.strip()),
    )


def dump_persona(persona: Persona) -> str:
    """The persona as YAML that `parse_persona` reads back."""
    data = {
        "name": persona.name,
        "title": persona.title,
        "kind": persona.kind,
        "domain": persona.domain,
        "subtopics": list(persona.subtopics),
        "texts": dict(persona.texts),
    }
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=96)


def _word(data: dict[str, Any], key: str, default: str | None = None) -> str:
    value = data.get(key, default)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"'{key}' is missing or not a text (found {str(value)[:60]!r}).")
    if len(value) > 200:
        raise InputError(f"'{key}' has {len(value)} characters; at most 200 are allowed.")
    return value.strip()


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InputError(f"'texts' must map {', '.join(LENGTHS)} to a text each.")
    unknown = [str(k) for k in value if k not in LENGTHS]
    if unknown:
        raise InputError(
            f"'texts' has the unknown length '{unknown[0][:40]}'; allowed are {', '.join(LENGTHS)}."
        )
    texts = {k: str(v).strip() for k, v in value.items() if isinstance(v, str) and v.strip()}
    if not texts:
        raise InputError(f"'texts' has no text; give at least one of {', '.join(LENGTHS)}.")
    for key, text in texts.items():
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InputError(
                f"The text '{key}' has {len(text):,} characters; "
                f"at most {MAX_TEXT_CHARACTERS:,} are allowed."
            )
    return {k: texts[k] for k in LENGTHS if k in texts}
