"""What the surroundings decide: read once from the environment when the app starts.

A public deployment (`PRISM_PUBLIC=1`) takes models from an allowlist only, offers no folder paths
and shortens answers. Limits live here and are enforced where inputs are checked (`app/state.py`),
since a private listener can still be called over HTTP.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prism_core.errors import StorageError

EMBEDDED = "embedded"
"""Reference of the model that comes with PRISM Studio."""


@dataclass(frozen=True)
class Settings:
    """The app's surroundings."""

    public: bool = False
    """Whether strangers can reach the app: allowlist of models, tighter limits."""
    cache_dir: Path = Path.home() / ".cache" / "prism-studio"
    """Where converted models and the browser secret are kept."""
    default_model: str = EMBEDDED
    """Reference of the model that is loaded first."""

    @property
    def max_new_tokens(self) -> int:
        """The longest answer that a visitor may ask for, in tokens."""
        return 256 if self.public else 1024


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the environment asks for."""
    cache = environment.get("PRISM_CACHE_DIR", "").strip()
    return Settings(
        public=environment.get("PRISM_PUBLIC", "").strip().lower() in ("1", "true", "yes", "on"),
        cache_dir=Path(cache).expanduser() if cache else Settings.cache_dir,
        default_model=environment.get("PRISM_MODEL", "").strip() or EMBEDDED,
    )


def browser_secret(settings: Settings) -> str:
    """The key that a visitor's browser storage is written with; the same after a restart.

    Raises:
        StorageError: the cache folder cannot be written.
    """
    path = settings.cache_dir / "browser-secret"
    try:
        settings.cache_dir.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text(encoding="ascii").strip()
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(16))
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise StorageError(f"The folder '{settings.cache_dir}' cannot be written: {error}.") from error
