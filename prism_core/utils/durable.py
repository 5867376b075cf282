"""Files that are whole or not there, after a power failure too.

A rename may reach the disk before the content that it names: the file is then there and empty. So
the content is forced to the disk first, and the folder's entry last.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; at the end it takes the place of `path`, whole.

    Where the block raises, `path` is as it was, and nothing is left beside it. What a killed
    process leaves is hidden and ends in `.partial`.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        sync_file(partial)
        os.replace(partial, path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Force a file's content to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk, where the system can do that."""
    if os.name == "nt":  # which cannot open a folder, and writes entries with their files
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
