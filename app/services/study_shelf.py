"""All studies that a visitor can explore: shipped ones, their own runs, and files they brought.

An id is `shipped-NAME`, `import-...`, or a run's; ids are looked up, never joined to a path. Opened
studies are kept with their grid of scores, so that a filter costs no reading.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from app.services.study_imports import PREFIX, StudyImports
from prism_core import __version__
from prism_core.analysis import ScoreGrid, make_grid
from prism_core.errors import NotFoundError, PrismError, StorageError
from prism_core.storage import RunRow, Store
from prism_core.study.file import METADATA_KEY, load_study, save_study
from prism_core.study.records import read_study
from prism_core.study.table import Study
from prism_core.utils.assets import ASSETS
from prism_core.utils.lru import LRU

SHIPPED = ASSETS / "studies"
SHIPPED_PREFIX = "shipped-"
Source = Literal["shipped", "run", "import"]


@dataclass(frozen=True)
class StudyEntry:
    """One study on offer."""

    id: str
    """What a link to it names."""
    title: str
    """Its name as shown to people."""
    source: Source
    """Where it comes from."""
    is_own: bool = False
    """Whether it belongs to this visitor."""


@dataclass(frozen=True, eq=False)
class OpenStudy:
    """A study with its grid of scores."""

    id: str
    """What a link to it names."""
    mark: str
    """Changes when the study has grown."""
    title: str
    """Its name as shown to people."""
    source: Source
    """Where it comes from."""
    study: Study
    """The answers."""
    grid: ScoreGrid
    """All scores by cell and item."""


class StudyShelf:
    """Finds and opens studies. Safe to share among threads."""

    def __init__(self, store: Store, imports: StudyImports, shipped: Path = SHIPPED) -> None:
        self._store = store
        self.imports = imports
        self._shipped = shipped
        self._open: LRU[str, OpenStudy] = LRU(6)
        self._titles: dict[str, str] = {}

    def entries(self, owner: str | None) -> list[StudyEntry]:
        """What a visitor can choose from: shipped, own runs that have begun, own files."""
        found = [
            StudyEntry(SHIPPED_PREFIX + path.stem, self._shipped_title(path), "shipped")
            for path in sorted(self._shipped.glob("*.parquet"))
        ]
        if owner is None:
            return found
        for run in self._store.list_runs(owner, "study", limit=50):
            if run.started is not None:
                found.append(StudyEntry(run.id, run_title(run), "run", True))
        found += [StudyEntry(i.id, i.title, "import", True) for i in self.imports.list(owner)]
        return found

    def open(self, study_id: str, *, fresh: bool = False) -> OpenStudy:
        """The study of an id, partial while it runs.

        Args:
            study_id: an id that a link or the page gave.
            fresh: look whether a run has more answers by now; without, a study that was opened
                lately is given as it was, so that a filter never waits for the store.

        Raises:
            NotFoundError: there is none.
            PrismError: it cannot be read.
        """
        known = self._open.get(study_id)
        if known is not None and not fresh:
            return known
        mark = self._mark(study_id)
        if known is not None and known.mark == mark:
            return known
        title, source, study = self._read(study_id)
        found = OpenStudy(study_id, mark, title, source, study, make_grid(study.rows))
        self._open.put(study_id, found)
        return found

    def forget(self, study_id: str) -> None:
        """Close a study, because it was deleted."""
        self._open.pop(study_id)

    def _mark(self, study_id: str) -> str:
        """Changes when the study has."""
        if study_id.startswith((SHIPPED_PREFIX, PREFIX)):
            return "whole"
        run = self._run(study_id)
        return f"{run.status} {sum(self._store.count_records(run.id).values())}"

    def _read(self, study_id: str) -> tuple[str, Source, Study]:
        if study_id.startswith(SHIPPED_PREFIX):
            path = self._shipped_path(study_id)
            return self._shipped_title(path), "shipped", load_study(path)
        if study_id.startswith(PREFIX):
            return self.imports.get(study_id).title, "import", self.imports.open(study_id)
        run = self._run(study_id)
        return run_title(run), "run", self._read_run(run)

    def _read_run(self, run: RunRow) -> Study:
        """A run's study; a finished one is built from its records once, then read from a file."""
        if run.status != "done":
            return read_study(self._store, run.id)
        path = run.path / f"study-{__version__}.parquet"
        try:
            return load_study(path)
        except PrismError:
            study = read_study(self._store, run.id)
        # The file is only a shortcut: without a disk the study is built again next time.
        with contextlib.suppress(StorageError):
            save_study(study, path)
        return study

    def _run(self, run_id: str) -> RunRow:
        run = self._store.get_run(run_id)
        if run.kind != "study":
            raise NotFoundError("There is no study of that id.")
        return run

    def _shipped_path(self, study_id: str) -> Path:
        for path in self._shipped.glob("*.parquet"):
            if SHIPPED_PREFIX + path.stem == study_id:
                return path
        raise NotFoundError(f"There is no shipped study '{study_id[:60]}'.")

    def _shipped_title(self, path: Path) -> str:
        if path.stem not in self._titles:
            self._titles[path.stem] = self._peek(path)
        return self._titles[path.stem]

    @staticmethod
    def _peek(path: Path) -> str:
        """The study's name, without reading its rows; the file's name where it says none."""
        try:
            about = json.loads((pq.read_metadata(path).metadata or {})[METADATA_KEY])
            return str(about["spec"]["name"])
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
            return path.stem


def run_title(run: RunRow) -> str:
    """A run's title, with what is missing to it."""
    return run.title if run.status == "done" else f"{run.title} ({run.status}, partial)"
