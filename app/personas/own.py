"""A visitor's own personas: added, changed, removed, imported, exported. Nothing here knows Gradio.

They live in the visitor's browser as a list of mappings and may have been tampered with there, so
whatever comes from it passes the same checks as an imported file. A shipped persona keeps its name:
one of the same name is stored under the next free one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.common.persona_choices import MAX_OWN_PERSONAS, merge_personas
from prism_core.errors import InputError
from prism_core.personas.library import parse_personas, persona_data
from prism_core.types import Persona
from prism_core.utils.plain_yaml import MAX_YAML_CHARACTERS

Stored = list[dict[str, Any]]
"""What the browser keeps."""

_NAME_CHARACTERS = 40
_MAX_BYTES = 4 * MAX_YAML_CHARACTERS  # a character has at most four bytes in UTF-8


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    stored: Stored
    """The visitor's personas after it."""
    added: tuple[str, ...]
    """Names that are new."""
    replaced: tuple[str, ...]
    """Names of own personas that were there before."""
    renamed: tuple[tuple[str, str], ...]
    """Names that shipped personas have, and what was stored instead."""


def read_own(stored: object, library: Mapping[str, Persona]) -> dict[str, Persona]:
    """The visitor's personas that pass the checks, by name."""
    merged = merge_personas(library, stored)
    return {name: p for name, p in merged.items() if name not in library}


def write_own(own: Mapping[str, Persona]) -> Stored:
    """What the browser is to keep."""
    return [persona_data(p) for p in own.values()]


def keep(
    own: Mapping[str, Persona], persona: Persona, library: Mapping[str, Persona], editing: str = ""
) -> dict[str, Persona]:
    """Own personas with one added, or with the one named `editing` replaced in its place.

    Raises:
        InputError: the name is taken, or there are too many.
    """
    if persona.name in library:
        raise InputError(
            f"The name '{persona.name}' belongs to a persona that comes with PRISM Studio; "
            f"'{free_name(persona.name, [*library, *own])}' is free."
        )
    if persona.name in own and persona.name != editing:
        raise InputError(
            f"You already have a persona named '{persona.name}'; "
            f"'{free_name(persona.name, [*library, *own])}' is free."
        )
    if editing in own:
        return {p.name: p for n, p in own.items() for p in [persona if n == editing else p]}
    if len(own) >= MAX_OWN_PERSONAS:
        raise InputError(
            f"You have {len(own)} personas of your own; at most {MAX_OWN_PERSONAS} are kept. "
            "Delete one first."
        )
    return {**own, persona.name: persona}


def import_yaml(
    own: Mapping[str, Persona], texts: Sequence[str], library: Mapping[str, Persona]
) -> Imported:
    """Take in the personas of YAML files: all of them, or none where one is wrong.

    Raises:
        InputError: a file breaks the format, or there would be too many.
    """
    result = dict(own)
    added, replaced, renamed = [], [], []
    for persona in [p for text in texts for p in parse_personas(text)]:
        kept = persona
        if persona.name in library:
            kept = replace(persona, name=free_name(persona.name, [*library, *result]))
            renamed.append((persona.name, kept.name))
        elif persona.name in result:
            replaced.append(persona.name)
        else:
            added.append(persona.name)
        result = keep(result, kept, library, editing=kept.name)
    return Imported(write_own(result), tuple(added), tuple(replaced), tuple(renamed))


def read_uploads(paths: Sequence[Path]) -> list[str]:
    """The texts of uploaded files, which are then deleted from this machine.

    Raises:
        InputError: one is too large, not text, or gone.
    """
    try:
        return [_read_upload(path) for path in paths]
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _read_upload(path: Path) -> str:
    name = path.name[:60]
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(
                f"The file '{name}' has {size:,} bytes; at most {_MAX_BYTES:,} are allowed."
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"The file '{name}' is not text in UTF-8.") from error
    except OSError as error:
        raise InputError(f"The file '{name}' did not arrive; please choose it again.") from error


def free_name(wanted: str, taken: Collection[str]) -> str:
    """A name like the wanted one that nobody has: `math_copy`, `math_copy_2`, ..."""
    if wanted not in taken:
        return wanted
    base = re.sub(r"_copy(_\d+)?$", "", wanted)
    number = 1
    while True:
        ending = "_copy" if number == 1 else f"_copy_{number}"
        name = base[: _NAME_CHARACTERS - len(ending)] + ending
        if name not in taken:
            return name
        number += 1


def name_from(title: str) -> str:
    """A name made of a title's letters and digits; empty where it has none that a name may have."""
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    return re.sub(r"^[^a-z]+", "", name)[:_NAME_CHARACTERS].rstrip("_")
