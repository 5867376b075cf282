"""The store: runs, their journals, and the cache of answers, on SQLite or PostgreSQL.

`Store()` opens `data_dir()/prism.sqlite3`, or what `PRISM_DATABASE_URL` names. The store holds the
truth: a run is a row, its finished parts are records, so whoever continues it redoes nothing.
Only `NotFoundError`, `StorageError` and `InputError` leave this package.
"""

from prism_core.storage.completions import completion_key, score_key
from prism_core.storage.folders import data_dir
from prism_core.storage.run_row import RunKind, RunRow, RunStatus
from prism_core.storage.store import Store
from prism_core.storage.values import dumps, loads, pack, unpack

__all__ = [
    "RunKind",
    "RunRow",
    "RunStatus",
    "Store",
    "completion_key",
    "data_dir",
    "dumps",
    "loads",
    "pack",
    "score_key",
    "unpack",
]
