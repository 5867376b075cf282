"""One run as a value: a piece of long work with a status, a place in the queue and a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from prism_core.errors import InputError

RunKind = Literal["train", "study", "rl"]
RunStatus = Literal["queued", "running", "cancelling", "cancelled", "failed", "done"]

RUN_KINDS: tuple[RunKind, ...] = get_args(RunKind)
RUN_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
ENDED: tuple[RunStatus, ...] = ("cancelled", "failed", "done")
ACTIVE: tuple[RunStatus, ...] = ("running", "cancelling")


@dataclass(frozen=True)
class RunRow:
    """A run as the store knew it when it was asked. Times are seconds since 1970 (UTC)."""

    id: str
    """Unguessable and safe in a URL: who knows it may look at the run."""
    kind: RunKind
    title: str
    owner: str
    """The visitor who started it, as an opaque id; may be empty."""
    spec: Mapping[str, Any]
    """What to do, as plain JSON data. It never holds a secret."""
    status: RunStatus
    stage: str = ""
    """The stage at work, or the last one."""
    done: float = 0.0
    """Units finished in this stage."""
    total: float = 0.0
    """Units that the stage has in all; 0 before it is known."""
    note: str = ""
    seconds_left: float | None = None
    """Estimate for this stage; None before it can be known."""
    message: str = ""
    """Why it failed, as a sentence; empty otherwise."""
    folder: str = ""
    created: float = 0.0
    queued: float = 0.0
    """When it joined the queue, most recently."""
    started: float | None = None
    updated: float = 0.0
    """When anything about it last changed, heartbeats left aside."""
    heartbeat: float | None = None
    worker: str = ""
    """The worker that has it; empty if none."""
    worker_host: str = ""
    """The machine (and its process namespace) of that worker."""
    worker_pid: int | None = None
    session: str = ""
    """The start of the app that started that worker; empty for a worker on its own."""
    takeovers: int = 0
    """How often it was taken from a worker that died under a living app, without a new record."""

    @property
    def path(self) -> Path:
        """Its folder as a path."""
        return Path(self.folder)

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen unless somebody resumes it."""
        return self.status in ENDED

    @property
    def fraction(self) -> float | None:
        """Share of its stage that is done, 0 to 1; None before the total is known."""
        return min(1.0, self.done / self.total) if self.total > 0 else None


def check_kind(kind: str) -> RunKind:
    """Return `kind`, or raise an InputError that lists the kinds there are."""
    for known in RUN_KINDS:
        if kind == known:
            return known
    raise InputError(f"There is no kind of run '{kind}'. Choose one of: {', '.join(RUN_KINDS)}.")
