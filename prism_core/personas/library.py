"""The library of personas: read from YAML, checked, written back.

One YAML document a persona: name, title, kind, domain, subtopics and a text for each length. The
same checks guard the shipped files and what a visitor imports. Invisible control characters are
refused, since they could show a reader something other than what a model reads.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from prism_core.errors import InputError, NotFoundError
from prism_core.types import LENGTHS, PERSONA_KINDS, Persona
from prism_core.utils.assets import ASSETS
from prism_core.utils.plain_yaml import plain_documents

LIBRARY = ASSETS / "personas"
"""Where the shipped personas live."""

MAX_TEXT_CHARACTERS = 4_000
MAX_PERSONAS = 100
"""The most that an imported file may hold."""
MAX_WORD_CHARACTERS = 200
"""The longest name, title or domain."""
_HIDDEN = ("Cc", "Cf", "Cs")
_JOINERS = "\u200c\u200d"
PERSONA_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def load_personas(folder: Path = LIBRARY) -> dict[str, Persona]:
    """Read all personas of a folder, by name: experts, then behaviours, then controls.

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
    """Return one persona by name, or raise a NotFoundError that lists those there are."""
    if name not in personas:
        raise NotFoundError(f"There is no persona '{name}'. Choose one of: {', '.join(personas)}.")
    return personas[name]


def parse_persona(text: str) -> Persona:
    """Read exactly one persona from YAML; see `parse_personas` for what it raises."""
    found = parse_personas(text)
    if len(found) != 1:
        raise InputError(f"The YAML holds {len(found)} personas; exactly one is expected.")
    return found[0]


def parse_personas(text: str) -> list[Persona]:
    """Read the personas of a YAML file, one a document; `---` parts documents.

    Raises:
        InputError: not plain YAML, no persona or too many, two of one name, or a field is
            missing, too long or not allowed.
    """
    documents = plain_documents(text)
    if not documents:
        raise InputError("The YAML is empty; it needs at least one persona.")
    if len(documents) > MAX_PERSONAS:
        raise InputError(
            f"The YAML holds {len(documents):,} personas; at most {MAX_PERSONAS} are allowed."
        )
    found: dict[str, Persona] = {}
    for data in documents:
        if not isinstance(data, dict):
            raise InputError("A persona must be a YAML mapping with name, kind, domain and texts.")
        persona = make_persona(data)
        if persona.name in found:
            raise InputError(f"The YAML holds two personas named '{persona.name}'.")
        found[persona.name] = persona
    return list(found.values())


def make_persona(data: Mapping[str, Any]) -> Persona:
    """Check a mapping's fields and build the persona; an InputError quotes the wrong field."""
    name = _word(data, "name")
    if not PERSONA_NAME.fullmatch(name):
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
    for topic in subtopics:
        _check_visible(topic, "subtopics", "")
    return Persona(
        name=name,
        title=_word(data, "title", name.replace("_", " ").capitalize()),
        kind=kind,
        domain=_word(data, "domain", "general questions"),
        texts=_texts(data.get("texts")),
        subtopics=tuple(s.strip()[:120] for s in subtopics[:64] if s.strip()),
    )


def persona_data(persona: Persona) -> dict[str, Any]:
    """Return the persona as plain data that `make_persona` takes back."""
    return {
        "name": persona.name,
        "title": persona.title,
        "kind": persona.kind,
        "domain": persona.domain,
        "subtopics": list(persona.subtopics),
        "texts": dict(persona.texts),
    }


def dump_persona(persona: Persona) -> str:
    """Return the persona as YAML that `parse_persona` reads back."""
    return dump_personas([persona])


def dump_personas(personas: Iterable[Persona]) -> str:
    """Return personas as YAML, one a document, that `parse_personas` reads back."""
    documents = [
        yaml.safe_dump(persona_data(p), sort_keys=False, allow_unicode=True, width=96)
        for p in personas
    ]
    return "---\n".join(documents)


def _word(data: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = data.get(key, default)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"'{key}' is missing or not a text (found {str(value)[:60]!r}).")
    if len(value) > MAX_WORD_CHARACTERS:
        raise InputError(
            f"'{key}' has {len(value):,} characters; at most {MAX_WORD_CHARACTERS} are allowed."
        )
    _check_visible(value.strip(), key, "")
    return value.strip()


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InputError(f"'texts' must map {', '.join(LENGTHS)} to a text each.")
    for key, text in value.items():
        if key not in LENGTHS:
            raise InputError(
                f"'texts' has the unknown length '{str(key)[:40]}'; "
                f"allowed are {', '.join(LENGTHS)}."
            )
        if text is not None and not isinstance(text, str):
            raise InputError(f"The text '{key}' is not a text (found {str(text)[:60]!r}).")
    given = ((k, (value.get(k) or "").replace("\r\n", "\n").strip()) for k in LENGTHS)
    texts: dict[str, str] = {k: text for k, text in given if text}
    if not texts:
        raise InputError(f"'texts' has no text; give at least one of {', '.join(LENGTHS)}.")
    for key, text in texts.items():
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InputError(
                f"The text '{key}' has {len(text):,} characters; "
                f"at most {MAX_TEXT_CHARACTERS:,} are allowed."
            )
        _check_visible(text, key, "\n\t")
    return texts


def _check_visible(text: str, field: str, allowed: str) -> None:
    """Refuse control characters and direction overrides; joiners of scripts and emoji stay."""
    for c in text:
        if c in allowed or c in _JOINERS or unicodedata.category(c) not in _HIDDEN:
            continue
        raise InputError(
            f"'{field}' holds the invisible character U+{ord(c):04X}; only visible text is allowed."
        )
