"""Clients that the operator has blocked, kept over restarts."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from prism_core.errors import StorageError


class BlockList:
    """The blocked clients, by their hash; a file in the app's home keeps them."""

    def __init__(self, path: Path) -> None:
        """Read the file, if there is one.

        Raises:
            StorageError: it cannot be read, so that nobody is let in by mistake.
        """
        self._path = path
        self._guard = threading.Lock()
        try:
            self._clients = {str(one) for one in json.loads(path.read_text(encoding="utf-8"))}
        except FileNotFoundError:
            self._clients = set()
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(
                f"The list of blocked clients in {path} is broken: {error}."
            ) from error

    def __contains__(self, client: str) -> bool:
        return client in self._clients

    def all(self) -> list[str]:
        """Return the blocked clients."""
        return sorted(self._clients)

    def set(self, client: str, *, blocked: bool) -> None:
        """Block a client, or let it in again.

        Raises:
            StorageError: the file cannot be written.
        """
        with self._guard:
            clients = self._clients | {client} if blocked else self._clients - {client}
            part = self._path.with_suffix(".part")
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                part.write_text(json.dumps(sorted(clients)), encoding="utf-8")
                os.replace(part, self._path)
            except OSError as error:
                raise StorageError(f"{self._path} cannot be written: {error.strerror}.") from error
            self._clients = clients
