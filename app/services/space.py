"""What is particular about a Hugging Face Space: its disk, its login, what its build fetched.

A Space's disk is emptied at every restart unless it has persistent storage, which is mounted at
`/data`; runs, their store and converted models go there where it can be written.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

DATA = Path("/data")
PRELOADED = ("HuggingFaceTB/SmolLM2-360M-Instruct",)
"""Models that `preload_from_hub` in README fetches when a Space is built."""


@dataclass(frozen=True)
class Space:
    """The Space that the app runs on."""

    name: str
    """`owner/name`."""
    host: str
    """The name under which visitors reach it."""
    lasts: bool
    """Whether its disk outlasts a restart."""
    has_login: bool
    """Whether visitors can sign in with Hugging Face; the session is then signed by a secret."""


def space_of(environment: Mapping[str, str], data: Path = DATA) -> Space | None:
    """Return the Space that the environment describes; None anywhere else."""
    name = environment.get("SPACE_ID", "")
    if not name:
        return None
    # Without SYSTEM, Gradio would sign visitors in as whoever owns this machine's token.
    has_login = environment.get("SYSTEM") == "spaces" and all(
        environment.get(f"OAUTH_CLIENT_{part}") for part in ("ID", "SECRET")
    )
    return Space(name, environment.get("SPACE_HOST", ""), _is_writable(data), has_login)


def lasting_folders(
    space: Space | None, environment: Mapping[str, str], data: Path = DATA
) -> dict[str, str]:
    """Return the variables that lead to the disk that lasts, where nobody has set them."""
    if space is None or not space.lasts:
        return {}
    folders = {"PRISM_DATA_HOME": data / "prism-studio", "PRISM_CACHE_DIR": data / "prism-models"}
    return {name: str(path) for name, path in folders.items() if not environment.get(name)}


def disk_sentence(
    space: Space | None, public: bool, days: float, home: Path, data: Path = DATA
) -> str:
    """Say whether what visitors make here stays; empty where it is their own disk."""
    if space is not None and not (space.lasts and home.is_relative_to(data)):
        return "This Space's disk is emptied at every restart: download what you want to keep."
    if space is None and not public:
        return ""
    lasts = "This Space's disk outlasts restarts"
    if space is None:
        lasts = "This copy's disk may be emptied"
    old = f", and what is older than {days:g} days is deleted" if math.isfinite(days) else ""
    return f"{lasts}{old}: download what you want to keep."


def preloaded_models() -> tuple[str, ...]:
    """Return the models of `PRELOADED` that are in the Hub's cache."""
    return tuple(
        name for name in PRELOADED if isinstance(try_to_load_from_cache(name, "config.json"), str)
    )


def _is_writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
