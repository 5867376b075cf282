"""What a person's reference to a model means, and whether it may be loaded.

A reference is the embedded model, a Hub id, a local folder, a GGUF file, or `NAME:MODEL` for a
model at an endpoint, split at the first colon. On a public deployment only what its owner listed is
accepted, and no path is ever looked at.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from prism_core.errors import InputError, NotFoundError
from prism_core.models.embedded import LABEL
from prism_core.progress import Progress

if TYPE_CHECKING:
    from prism_core.models.generator import Generator
    from prism_core.models.remote import RemoteGenerator

EMBEDDED = "embedded"
"""Reference of the model that comes with PRISM Studio."""
_ENDPOINT = re.compile(r"(?!hub:|embedded:|self:)([a-z][a-z0-9_-]{1,39}):(.*)", re.A | re.S)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?", re.ASCII)
ALLOWED = (
    "'embedded', a Hub id like 'org/name', a folder with safetensors, a .gguf file, or "
    "'NAME:MODEL' for a model at an endpoint"
)


@dataclass(frozen=True)
class ModelSource:
    """A model that can be loaded."""

    kind: Literal["embedded", "hub", "folder", "gguf"]
    reference: str
    """What a person writes to name it; paths are absolute."""
    label: str


def resolve(reference: str) -> ModelSource:
    """Find out what a person's reference means, without fetching anything.

    On a public deployment (`PRISM_PUBLIC=1`) only the embedded model and the Hub ids listed in
    `PRISM_MODEL_ALLOWLIST` (separated by commas) are accepted.

    Raises:
        InputError: the reference has no known form, or is not on a public deployment's list.
        NotFoundError: it looks like a path, but nothing usable is there.
    """
    name = reference.strip()
    if name == EMBEDDED:
        return ModelSource("embedded", EMBEDDED, LABEL)
    if os.environ.get("PRISM_PUBLIC", "").strip() == "1":
        return _resolve_public(name)
    if "\0" in name or len(name) > 1000:
        raise InputError(f"model {name[:60]!r} is not a name. Allowed: {ALLOWED}")
    path = Path(name).expanduser()
    if name and path.is_dir():
        return _resolve_folder(path.absolute())
    if name and path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise NotFoundError(f"there is no GGUF file at {name!r}")
        return ModelSource("gguf", str(path.absolute()), path.stem)
    if name.startswith((".", "/", "~", "\\")) or path.is_file():
        raise NotFoundError(f"there is no model at {name!r}. Allowed: {ALLOWED}")
    return _resolve_hub(name)


def split_remote(reference: str) -> tuple[str, str] | None:
    """Return the endpoint's name and the model of `NAME:MODEL`; None for any other reference.

    `remote` names the endpoint of `PRISM_REMOTE_URL`. Further colons belong to the model
    (`ollama:llama3:8b`). Whether there is such an endpoint is not looked at.
    """
    found = _ENDPOINT.fullmatch(reference.strip())
    return (found[1], found[2].strip()) if found else None


def is_remote(reference: str) -> bool:
    """Tell whether a reference names a model at an endpoint."""
    return split_remote(reference) is not None


def open_model(reference: str, progress: Progress | None = None, *, effort: str = "") -> Generator:
    """Load the model of a reference; a model at an endpoint (`NAME:MODEL`) is asked nothing yet.

    There, a reasoning model thinks with the given `effort`; empty leaves it to the model.

    Raises:
        PrismError: there is no such model or endpoint, or it cannot be loaded.
    """
    if (parts := split_remote(reference)) is not None:
        from prism_core.models.remote import RemoteGenerator, find_endpoint

        if os.environ.get("PRISM_PUBLIC", "").strip() == "1":
            _check_listed(reference.strip(), os.environ.get("PRISM_MODEL", "").strip())
        return RemoteGenerator(find_endpoint(parts[0]), parts[1], effort)
    from prism_core.models.local import LocalModel

    return LocalModel.load(reference, progress=progress)


def open_endpoint(reference: str) -> RemoteGenerator:
    """Return the model at an endpoint that a reference names; it is asked nothing yet.

    Raises:
        InputError: it names no model at an endpoint, or one that is not allowed here.
        NotFoundError: there is no such endpoint.
    """
    from prism_core.models.remote import RemoteGenerator

    if not is_remote(reference) or not isinstance(found := open_model(reference), RemoteGenerator):
        raise InputError(f"{reference[:100]!r} is no model at an endpoint; write NAME:MODEL.")
    return found


def _resolve_public(name: str) -> ModelSource:
    """Accept what the deployment's owner listed, as Hub ids only."""
    _check_listed(name)
    return _resolve_hub(name)


def _check_listed(name: str, *others: str) -> None:
    """Refuse what a public deployment's owner did not list."""
    listed = os.environ.get("PRISM_MODEL_ALLOWLIST", "").split(",")
    allowed = [entry for entry in (*others, *map(str.strip, listed)) if entry]
    if name not in allowed:
        choices = ", ".join(dict.fromkeys([EMBEDDED, *allowed]))
        raise InputError(f"model {name[:100]!r} cannot be loaded here. Allowed: {choices}")


def _resolve_hub(name: str) -> ModelSource:
    if not HUB_ID.fullmatch(name) or ".." in name:
        raise InputError(f"model {name[:100]!r} is not known. Allowed: {ALLOWED}")
    return ModelSource("hub", name, name.partition("/")[2])


def _resolve_folder(path: Path) -> ModelSource:
    if not (path / "config.json").is_file():
        raise NotFoundError(f"the folder {str(path)!r} has no config.json, so it is no model")
    if not any(path.glob("*.safetensors")):
        raise NotFoundError(f"the folder {str(path)!r} has no *.safetensors; only those are loaded")
    return ModelSource("folder", str(path), path.name)
