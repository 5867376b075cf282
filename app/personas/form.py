"""What the editor's fields become: a persona that passed the checks, under a fitting name."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from prism_core.errors import InputError
from prism_core.personas.library import make_persona
from prism_core.types import LENGTHS, Persona

FIELDS = ("title", "name", "kind", "domain", *LENGTHS, "subtopics")
"""The editor's fields by name, in the order in which listeners get their values."""
NAME_CHARACTERS = 40


def persona_of(*values: Any) -> Persona:
    """Return the persona in the values of `FIELDS`.

    Raises:
        InputError: a field is missing or not allowed; the message names it.
    """
    raw = {name: value or "" for name, value in zip(FIELDS, values, strict=True)}
    title = raw["title"]
    if not title.strip():
        raise InputError("The title is empty; give the persona a title.")
    name = raw["name"].strip() or name_from(title)
    if not name:
        raise InputError(
            f"No name can be made from the title '{title.strip()[:60]}'; type one, for example "
            "'my_expert'."
        )
    return make_persona(
        {
            "name": name,
            "title": title,
            "kind": raw["kind"],
            "domain": raw["domain"].strip() or "general questions",
            "texts": {length: raw[length] for length in LENGTHS},
            "subtopics": [line for line in raw["subtopics"].splitlines() if line.strip()],
        }
    )


def values_of(persona: Persona | None) -> dict[str, str]:
    """Return the values, by field name, that show a persona; None is one to be written."""
    if persona is None:
        return dict.fromkeys(FIELDS, "") | {"kind": "expert"}
    texts = [persona.texts.get(length, "") for length in LENGTHS]
    topics = "\n".join(persona.subtopics)
    values = [persona.title, persona.name, persona.kind, persona.domain, *texts, topics]
    return dict(zip(FIELDS, values, strict=True))


def name_from(title: str) -> str:
    """Make a name of a title's letters and digits; empty where it has none that a name may have."""
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    return re.sub(r"^[^a-z]+", "", name)[:NAME_CHARACTERS].rstrip("_")


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Return a name like the wanted one that nobody has: `math_copy`, `math_copy_2`, ..."""
    base = re.sub(r"_copy(_\d+)?$", "", wanted)
    name, number = wanted, 0
    while name in taken:
        number += 1
        ending = "_copy" if number == 1 else f"_copy_{number}"
        name = base[: NAME_CHARACTERS - len(ending)] + ending
    return name
