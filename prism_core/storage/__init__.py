"""The store: runs, their journals, and the cache of answers, on SQLite or PostgreSQL.

`Store()` opens `data_dir()/prism.sqlite3`, or what `PRISM_DATABASE_URL` names. The store holds the
truth: a run is a row, its finished parts are records, so whoever continues it redoes nothing.
Only `NotFoundError`, `StorageError` and `InputError` leave this package.
"""

from prism_core.storage.completions import completion_key, score_key
from prism_core.storage.folders import check_run_id, data_dir, new_run_id, run_folder
from prism_core.storage.run_row import RUN_KINDS, RUN_STATUSES, RunKind, RunRow, RunStatus
from prism_core.storage.store import Store
from prism_core.storage.values import dumps, loads, pack, unpack

__all__ = [
    "RUN_KINDS",
    "RUN_STATUSES",
    "RunKind",
    "RunRow",
    "RunStatus",
    "Store",
    "check_run_id",
    "completion_key",
    "data_dir",
    "dumps",
    "loads",
    "new_run_id",
    "pack",
    "run_folder",
    "score_key",
    "unpack",
]
