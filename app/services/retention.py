"""What is deleted by itself where strangers come: what is old, and the oldest of too much.

Runs that have ended, study files that visitors brought, and cached answers. An unfinished run is
never touched. On a copy of one's own nothing is deleted unless `PRISM_KEEP_DAYS` says so.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from app.services.disk import folder_bytes
from app.services.event_log import EventLog
from app.services.study_shelf import StudyImports
from prism_core.errors import InputError, NotFoundError, PrismError
from prism_core.storage import Store
from prism_core.storage.run_row import ENDED

DAY = 86_400.0
EVERY_SECONDS = 3_600.0
PUBLIC_DAYS, PUBLIC_GB = 14.0, 10.0
MOST_RUNS = 100_000
_MAX_DAYS = 36_500

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keep:
    """How long and how much; infinity keeps all."""

    days: float = math.inf
    run_bytes: float = math.inf
    """Bytes of the folders of all runs."""
    answers: float = math.inf
    """Cached answers."""


def keep_of(public: bool, environment: Mapping[str, str]) -> Keep:
    """Return what a deployment keeps.

    Raises:
        InputError: `PRISM_KEEP_DAYS` or `PRISM_KEEP_GB` is no positive number.
    """
    days = _number(environment, "PRISM_KEEP_DAYS", PUBLIC_DAYS if public else math.inf)
    gigabytes = _number(environment, "PRISM_KEEP_GB", PUBLIC_GB if public else math.inf)
    return Keep(days, gigabytes * 1e9, 1e6 if public else math.inf)


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "").strip()
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= _MAX_DAYS:
        raise InputError(f"{name} is {text[:40]!r}; it must be a number above 0.")
    return number


@dataclass(frozen=True)
class Janitor:
    """Deletes what is not kept."""

    store: Store
    imports: StudyImports
    keep: Keep
    log: EventLog

    def start(self) -> None:
        """Tidy now and every hour, as long as the app lives."""
        threading.Thread(target=self._tidy_for_ever, name="janitor", daemon=True).start()

    def tidy(self, now: float | None = None) -> None:
        """Delete what is too old, then the oldest of what is too much."""
        now = time.time() if now is None else now
        oldest = now - self.keep.days * DAY
        runs = self._delete_runs(oldest)
        files = self.imports.forget_older(oldest) if math.isfinite(oldest) else 0
        answers = 0
        if math.isfinite(oldest) or math.isfinite(self.keep.answers):
            answers = self.store.prune_answers(oldest, self.keep.answers)
        if runs or files or answers:
            self.log.note("tidied", runs=runs, study_files=files, answers=answers)

    def _tidy_for_ever(self) -> None:
        while True:
            try:
                self.tidy()
            except (PrismError, OSError):
                _log.exception("Tidying failed; trying again in an hour")
            time.sleep(EVERY_SECONDS)

    def _delete_runs(self, oldest: float) -> int:
        if math.isinf(self.keep.days) and math.isinf(self.keep.run_bytes):
            return 0
        ended = self.store.list_runs(statuses=ENDED, limit=MOST_RUNS)
        excess = folder_bytes(self.store.home / "runs") - self.keep.run_bytes
        count = 0
        for run in sorted(ended, key=lambda run: run.updated):
            if run.updated >= oldest and excess <= 0:
                break
            excess -= folder_bytes(run.path)
            with suppress(NotFoundError, InputError):  # deleted, or resumed, meanwhile
                self.store.delete_run(run.id)
                count += 1
        return count
