"""How much of the disk the app's parts take."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder, or of one file; 0 where there is none."""
    if folder.is_file():
        return folder.stat().st_size
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # deleted meanwhile
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def disk_parts(home: Path, cache: Path) -> Mapping[str, int]:
    """Return the bytes of each part of the app's home and cache, and what is free."""
    store = sum(folder_bytes(path) for path in home.glob("prism.sqlite3*"))
    return {
        "runs": folder_bytes(home / "runs"),
        "study files": folder_bytes(home / "studies"),
        "store": store,
        "logs": folder_bytes(home / "logs"),
        "models": folder_bytes(cache),
        "free": shutil.disk_usage(home if home.is_dir() else home.parent).free,
    }
