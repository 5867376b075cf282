"""Files made for a download: they live in one temporary folder, for a few minutes at most.

Gradio copies a file into its own cache as soon as a listener has returned its path, so what is
older is of no use any more. It is removed when the next file is made, and the rest at exit.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

KEEP_SECONDS = 600.0


def file_name(title: str, default: str) -> str:
    """Make a file's name, without its ending, of what people call its content."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip(".-")[:60] or default


def download_path(name: str) -> Path:
    """Return where a file of this name can be written: alone in a fresh folder."""
    if not _home().is_dir():  # a machine that tidies its temporary folder may have taken it
        _home.cache_clear()
    home = _home()
    for old in home.iterdir():
        with suppress(FileNotFoundError):  # somebody else's download has just removed it
            if time.time() - old.stat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(old)
    return Path(tempfile.mkdtemp(dir=home)) / name


@cache
def _home() -> Path:
    """This process's folder."""
    home = Path(tempfile.mkdtemp(prefix="prism-downloads-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home
