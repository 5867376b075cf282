"""The cache of answers and choice scores, keyed by all that determines them.

The key is a hash of the model's fingerprint (weights, revision, adapter and template), the prompt,
the sampling, the seed and the repeat. A study run again, or widened, pays only for what is new.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from prism_core.errors import InputError
from prism_core.storage.database import Database
from prism_core.storage.schema import completions, scores
from prism_core.storage.values import dumps, loads_all, unpack
from prism_core.types import ChoiceScore, Completion, Prompt, Sampling
from prism_core.utils.validation import check

T = TypeVar("T")

_CHUNK = 1_000
"""Keys a query; SQLite allows 32,766 parameters."""


def completion_key(
    fingerprint: str, prompt: Prompt, sampling: Sampling, seed: int, repeat: int = 0, mode: str = ""
) -> str:
    """Return the cache key of one answer, as 64 hexadecimal digits.

    The generator's `fingerprint` covers weights, revision, adapter and template; `mode` is anything
    else that changes the answer, such as a gate's threshold.
    """
    # Converted by its types, so that a temperature of 1 and one of 1.0 have the same key.
    exact = check(sampling)
    return _hash("completion", fingerprint, prompt, exact, seed, repeat, mode)


def score_key(fingerprint: str, prompt: Prompt, choices: Sequence[str], mode: str = "") -> str:
    """Return the cache key of the scores of a prompt's choices, as 64 hexadecimal digits."""
    return _hash("scores", fingerprint, prompt, list(choices), mode)


class CompletionTables:
    """The answers and scores that need not be computed again."""

    _db: Database

    def get_completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Return the cached answers among `keys`; those not cached are left out."""
        return self._get(completions, keys, lambda data: unpack(Completion, data))

    def put_completions(self, found: Mapping[str, Completion]) -> int:
        """Cache whole answers in one transaction; an existing key keeps its first answer.

        Answers still running or cancelled are passed over: half an answer must never be served
        as a whole one. Returns how many were whole.
        """
        whole = {k: one for k, one in found.items() if one.finish not in ("running", "cancelled")}
        self._put(completions, whole)
        return len(whole)

    def get_scores(self, keys: Iterable[str]) -> dict[str, list[ChoiceScore]]:
        """Return the cached scores among `keys`, one list a prompt; the others are left out."""
        return self._get(scores, keys, lambda data: [ChoiceScore(float(v), n) for v, n in data])

    def put_scores(self, found: Mapping[str, Sequence[ChoiceScore]]) -> int:
        """Cache the scores of prompts' choices in one transaction; returns how many prompts."""
        self._put(scores, {k: [(s.logprob, s.tokens) for s in row] for k, row in found.items()})
        return len(found)

    def prune_answers(self, before: float, most: float = math.inf) -> int:
        """Forget what was cached before a moment, and the oldest of more than `most` a table.

        A study in progress pays for what it still needs again. Returns how many were forgotten.
        """
        count = 0
        for table in (completions, scores):
            with self._db.write() as connection:
                count += connection.execute(
                    sa.delete(table).where(table.c.created < max(0.0, before))
                ).rowcount
                held = connection.execute(
                    sa.select(sa.func.count()).select_from(table)
                ).scalar_one()
                if held > most:
                    order = sa.select(table.c.key).order_by(table.c.created).limit(held - int(most))
                    chosen = sa.delete(table).where(table.c.key.in_(order))
                    count += connection.execute(chosen).rowcount
        return count

    def _get(self, table: sa.Table, keys: Iterable[str], build: Callable[[Any], T]) -> dict[str, T]:
        wanted = list(dict.fromkeys(keys))
        found: dict[str, T] = {}
        with self._db.read() as connection:
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                chosen = sa.select(table.c.key, table.c.payload).where(table.c.key.in_(part))
                rows = connection.execute(chosen).all()
                payloads = loads_all([row.payload for row in rows])
                found.update((r.key, build(data)) for r, data in zip(rows, payloads, strict=True))
        return {key: found[key] for key in wanted if key in found}

    def _put(self, table: sa.Table, found: Mapping[str, Any]) -> None:
        now = time.time()
        # Sorted, so that two writers lock the same rows in the same order and never deadlock.
        keys = sorted(map(_check_key, found))
        rows = [{"key": key, "payload": dumps(found[key]), "created": now} for key in keys]
        if rows:
            with self._db.write() as connection:
                connection.execute(self._db.upsert(table, ["key"]), rows)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(dumps(parts).encode()).hexdigest()


def _check_key(key: str) -> str:
    if len(key) != 64:
        raise InputError(f"{key[:80]!r} is not a cache key; make it with completion_key().")
    return key
