"""The tables. Payloads are JSON as text, times are seconds since 1970 as floats."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = 2
"""Raised whenever the tables change, with a step in `migrations.py` from the version before."""

metadata = MetaData()

# SQLite counts up only in a column that is exactly INTEGER PRIMARY KEY.
_Counter = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("title", Text, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("spec", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("stage", Text, nullable=False, default=""),
    Column("done", Float, nullable=False, default=0.0),
    Column("total", Float, nullable=False, default=0.0),
    Column("note", Text, nullable=False, default=""),
    Column("seconds_left", Float),
    Column("message", Text, nullable=False, default=""),
    Column("folder", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("queued", Float, nullable=False),
    Column("started", Float),
    Column("updated", Float, nullable=False),
    Column("heartbeat", Float),
    Column("worker", Text, nullable=False, default=""),
    Column("worker_host", Text, nullable=False, default=""),
    Column("worker_pid", Integer),
    Column("session", Text, nullable=False, default="", server_default=""),
    Column("takeovers", Integer, nullable=False, default=0),
    Column("takeover_mark", _Counter, nullable=False, default=0),
    Index("runs_by_status", "status", "queued"),
    Index("runs_by_owner", "owner", "created"),
)
"""`takeover_mark` is the number of records when the run was last taken over."""

records = Table(
    "records",
    metadata,
    Column("position", _Counter, primary_key=True, autoincrement=True),
    Column("run_id", String(64), ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("stage", String(80), nullable=False),
    Column("key", String(300), nullable=False),
    Column("payload", Text, nullable=False),
    UniqueConstraint("run_id", "stage", "key", name="records_one_a_key"),
    Index("records_in_order", "run_id", "stage", "position"),
    # Without it SQLite would give the position of a deleted record to a new one.
    sqlite_autoincrement=True,
)


def _cache(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("key", String(64), primary_key=True),
        Column("payload", Text, nullable=False),
        Column("created", Float, nullable=False),
        Index(f"{name}_by_age", "created"),
    )


completions, scores = _cache("completions"), _cache("scores")
