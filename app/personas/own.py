"""A visitor's own personas: added, changed, removed, imported, exported. Nothing here knows Gradio.

They live in the visitor's browser as a list of mappings and may have been tampered with there, so
whatever comes from it passes the same checks as an imported file. A shipped persona keeps its name:
one of the same name is stored under the next free one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.common.persona_choices import MAX_OWN_PERSONAS, merge_personas
from app.personas.form import free_name
from prism_core.errors import InputError
from prism_core.personas.library import parse_personas, persona_data
from prism_core.types import Persona
from prism_core.utils.plain_yaml import MAX_YAML_CHARACTERS

Stored = list[dict[str, Any]]
"""What the browser keeps."""

_MAX_BYTES = 4 * MAX_YAML_CHARACTERS  # a character has at most four bytes in UTF-8


@dataclass(frozen=True)
class Imported:
    """What an import did: the visitor's personas after it, and the names in the files."""

    stored: Stored
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    """Own personas that were there before."""
    renamed: tuple[tuple[str, str], ...]
    """Names that shipped personas have, and what was stored instead."""


def read_own(stored: object, library: Mapping[str, Persona]) -> dict[str, Persona]:
    """Return the visitor's personas that pass the checks, by name."""
    merged = merge_personas(library, stored)
    return {name: p for name, p in merged.items() if name not in library}


def write_own(own: Mapping[str, Persona]) -> Stored:
    """Return what the browser is to keep."""
    return [persona_data(p) for p in own.values()]


def keep(
    own: Mapping[str, Persona], persona: Persona, library: Mapping[str, Persona], editing: str = ""
) -> dict[str, Persona]:
    """Add a persona to the visitor's own, or put it in the place of the one named `editing`.

    Raises:
        InputError: the name is taken, or there are too many.
    """
    name = persona.name
    free = f"'{free_name(name, [*library, *own])}' is free."
    if name in library:
        raise InputError(
            f"The name '{name}' belongs to a persona that comes with PRISM Studio; {free}"
        )
    if name in own and name != editing:
        raise InputError(f"You already have a persona named '{name}'; {free}")
    if editing in own:
        edited = [persona if old == editing else p for old, p in own.items()]
        return {p.name: p for p in edited}
    if len(own) >= MAX_OWN_PERSONAS:
        raise InputError(
            f"You have {len(own)} personas of your own; at most {MAX_OWN_PERSONAS} are kept. "
            "Delete one first."
        )
    return {**own, name: persona}


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
    """Return the texts of uploaded files, which are then deleted from this machine.

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
