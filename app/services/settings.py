"""What the surroundings decide: read once from the environment when the app starts.

A public deployment takes models from an allowlist only, offers no folder paths and shortens
answers. It is public wherever strangers can come: on a Space, behind `--share`, on an address that
other machines reach, or with `PRISM_PUBLIC=1`; `--trusted` says that nobody but friends does.
Limits live here and in `quotas`, and are enforced where inputs are checked (each tab's `form.py`),
since a private listener can still be called over HTTP.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prism_core.errors import StorageError
from prism_core.models.sources import EMBEDDED
from prism_core.study.file import FileLimits
from prism_core.utils.cache_folder import cache_dir

SHIPPED_PREFIX = "shipped-"
"""How the id of an adapter or study begins that comes with PRISM Studio."""


@dataclass(frozen=True)
class Settings:
    """The app's surroundings."""

    public: bool = False
    """Whether strangers can reach the app: allowlist of models, tighter limits."""
    cache: Path = field(default_factory=cache_dir)
    """Where converted models and the browser secret are kept."""
    models: tuple[str, ...] = (EMBEDDED,)
    """References that are offered; the first is the default."""
    has_login: bool = False
    """Whether visitors can sign in with Hugging Face."""
    disk_note: str = ""
    """A sentence on whether what visitors make here stays; empty where nothing is lost."""

    @property
    def default_model(self) -> str:
        """The model that is loaded first."""
        return self.models[0]

    @property
    def max_new_tokens(self) -> int:
        """The longest answer that a visitor may ask for, in tokens."""
        return 256 if self.public else 1024

    @property
    def max_unfinished(self) -> int:
        """Runs of one visitor that may wait or work at the same time."""
        return 2 if self.public else 100

    @property
    def max_upload_bytes(self) -> int:
        """The largest file that a visitor may bring along."""
        return 8_000_000 if self.public else 64_000_000

    @property
    def study_file(self) -> FileLimits:
        """How large a study file of a visitor may be."""
        if self.public:
            return FileLimits(self.max_upload_bytes, rows=100_000, plain_bytes=64_000_000)
        return FileLimits(self.max_upload_bytes, rows=2_000_000, plain_bytes=1_000_000_000)


def read_settings(
    environment: Mapping[str, str] = os.environ,
    *,
    exposed: bool = False,
    trusted: bool = False,
    preloaded: Sequence[str] = (),
) -> Settings:
    """Return the settings that the environment asks for.

    Args:
        environment: the variables; on a Space there is `SPACE_ID` among them.
        exposed: whether other machines reach the app by the address that it is served on.
        trusted: whether whoever reaches it may do all that the operator may.
        preloaded: models that are here already.
    """
    asked = environment.get("PRISM_PUBLIC", "").strip() == "1"
    public = asked or (not trusted and (exposed or bool(environment.get("SPACE_ID"))))
    first = environment.get("PRISM_MODEL", "").strip()
    listed = environment.get("PRISM_MODEL_ALLOWLIST", "").split(",")
    offered = [first, EMBEDDED, *(name.strip() for name in listed), *preloaded]
    models = tuple(dict.fromkeys(name for name in offered if name))
    return Settings(public=public, models=models)


def browser_secret(settings: Settings) -> str:
    """Return the key that browser storage is written with; it is the same after a restart.

    Raises:
        StorageError: the cache folder cannot be written.
    """
    return kept_secret(settings.cache / "browser-secret")


def kept_secret(path: Path) -> str:
    """Return the 128 random bits that a file keeps, in hexadecimal; made at the first call.

    Raises:
        StorageError: the file's folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text(encoding="ascii").strip()
        secret = secrets.token_hex(16)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secret)
        return secret
    except OSError as error:
        raise StorageError(f"The folder '{path.parent}' cannot be written: {error}.") from error
