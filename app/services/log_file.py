"""A log file that child processes write to and that never grows without end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO

from prism_core.storage.folders import make_folder

MAX_BYTES = 5_000_000
KEEP = 3
"""How many older pieces stay beside the file: `worker.log.1` is the newest of them."""


class LogFile:
    """Appended to by any number of processes; cut by the one that holds this object."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def open(self) -> BinaryIO:
        """Open the file for a child's output; close it here once the child has it."""
        make_folder(self.path.parent)
        return self.path.open("ab")

    def rotate(self) -> None:
        """Move the content aside once the file is too long.

        The file is copied and emptied, not renamed: the children keep their handle, and since it
        appends, they go on at the new end.
        """
        if not self.path.exists() or self.path.stat().st_size <= self._max_bytes:
            return
        for number in range(KEEP - 1, 0, -1):
            older = self._piece(number)
            if older.exists():
                older.replace(self._piece(number + 1))
        shutil.copyfile(self.path, self._piece(1))
        with self.path.open("r+b") as file:
            file.truncate()

    def _piece(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
