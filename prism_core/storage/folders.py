"""Where PRISM Studio keeps what it makes: one data folder, and in it one folder a run.

`PRISM_DATA_HOME` moves the data folder; without it each platform's usual place for user data is
taken. A run's folder is named after its id, and an id that is not one never reaches the disk.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

from prism_core.errors import InputError, StorageError

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{21,63}")


def data_dir() -> Path:
    """Return the folder for the store, the runs and the logs. It may not exist yet."""
    chosen = os.environ.get("PRISM_DATA_HOME", "")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "prism-studio"
    variable = "LOCALAPPDATA" if os.name == "nt" else "XDG_DATA_HOME"
    base = os.environ.get(variable, "")
    return (Path(base) if base else Path.home() / ".local" / "share") / "prism-studio"


def new_run_id() -> str:
    """Make an id of 128 random bits that nobody can guess, safe in a URL and as a file name."""
    return secrets.token_hex(16)


def check_run_id(run_id: str) -> str:
    """Return `run_id`, or raise an InputError where it does not have the form of an id."""
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise InputError(
            f"{str(run_id)[:80]!r} is not a run's id: "
            "an id has 22 to 64 letters, digits, '_' or '-'."
        )
    return run_id


def check_printable(text: str, problem: str, least: int, most: int) -> str:
    """Return `text`, or raise an InputError unless it is `least` to `most` printable characters."""
    if not isinstance(text, str) or not least <= len(text) <= most or not text.isprintable():
        raise InputError(
            f"{str(text)[:80]!r} {problem}: it must be {least} to {most} printable characters."
        )
    return text


def make_folder(folder: Path) -> Path:
    """Create a folder that only its owner can read, with its parents, or raise a StorageError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"The folder {folder} could not be made: {reason}.") from error
    return folder


def run_folder(run_id: str, home: Path) -> Path:
    """Return a run's folder, which may not exist yet; only an id is taken, so no path escapes."""
    return home / "runs" / check_run_id(run_id)
