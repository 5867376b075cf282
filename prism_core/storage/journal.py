"""Journals: a stage's finished parts, kept in the store or in memory.

A stage asks `begin` for what is finished, does the rest batch by batch, and saves each batch in one
transaction. The settings that the parts were made with are their first record: a run that goes on
with other settings is refused, since it would mix two experiments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from prism_core.errors import InputError
from prism_core.storage import Store, dumps, loads

SETTINGS_KEY = "#settings"
"""Key of the record that holds the hash of a stage's settings; it is no part of the results."""


class Journal(Protocol):
    """One run's finished parts, stage by stage."""

    def load(self, stage: str) -> dict[str, Any]:
        """Return a stage's finished parts by key, in the order they were saved."""

    def save(self, stage: str, parts: Mapping[str, Any]) -> None:
        """Keep parts (plain JSON values) in one transaction; saving a key again replaces it."""


class StoreJournal:
    """One run's journal in the store."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store, self.run_id = store, run_id

    def load(self, stage: str) -> dict[str, Any]:
        """See `Journal.load`."""
        return self.store.get_records(self.run_id, stage)

    def save(self, stage: str, parts: Mapping[str, Any]) -> None:
        """Keep parts in one transaction; see `Store.put_records` for what it raises."""
        self.store.put_records(self.run_id, stage, parts)


class MemoryJournal:
    """A journal that lives as long as the process: for the command line and for trials.

    Parts go through JSON as they do in the store, so that both behave alike.
    """

    def __init__(self) -> None:
        self._parts: dict[str, dict[str, str]] = {}

    def load(self, stage: str) -> dict[str, Any]:
        """See `Journal.load`."""
        return {key: loads(text) for key, text in self._parts.get(stage, {}).items()}

    def save(self, stage: str, parts: Mapping[str, Any]) -> None:
        """Keep parts, all or none; an InputError says that one has no JSON form."""
        texts = {key: dumps(part) for key, part in parts.items()}
        self._parts.setdefault(stage, {}).update(texts)


class SuffixJournal:
    """A part of another journal: stage `answers` is kept as `answers@2` for the suffix `@2`."""

    def __init__(self, journal: Journal, suffix: str) -> None:
        self._journal, self._suffix = journal, suffix

    def load(self, stage: str) -> dict[str, Any]:
        """See `Journal.load`."""
        return self._journal.load(stage + self._suffix)

    def save(self, stage: str, parts: Mapping[str, Any]) -> None:
        """See `Journal.save`."""
        self._journal.save(stage + self._suffix, parts)


def begin(journal: Journal, stage: str, *settings: Any) -> dict[str, Any]:
    """Start a stage or go on with it.

    `settings` are the dataclasses or plain values that determine the stage's results.

    Returns:
        The parts that are finished, by key.

    Raises:
        InputError: the stage was begun with other settings.
    """
    parts = journal.load(stage)
    mark = hashlib.sha256(dumps(settings).encode()).hexdigest()[:16]
    known = parts.pop(SETTINGS_KEY, None)
    if known is None:
        journal.save(stage, {SETTINGS_KEY: mark})
    elif known != mark:
        raise InputError(
            f"Stage '{stage}' of this run was begun with other settings, another model or other "
            f"inputs (mark {known}, now {mark}). Start a new run, or go on with the old settings."
        )
    return parts


def seed_of(*parts: str | int) -> int:
    """Return a seed of 62 bits that depends on every part and on nothing else."""
    text = "\0".join(str(p) for p in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2
