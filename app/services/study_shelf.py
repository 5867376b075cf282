"""All studies that a visitor can explore: shipped ones, their own runs, and files they brought.

An id is `shipped-NAME`, `import-...`, or a run's; ids are looked up, never joined to a path. Opened
studies are kept with their grid of scores, so that a filter costs no reading.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.services.settings import SHIPPED_PREFIX
from app.services.study_imports import IMPORT_PREFIX, StudyImports
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


@dataclass(frozen=True)
class StudyEntry:
    """One study on offer, under the id that a link to it names."""

    id: str
    title: str


@dataclass(frozen=True, eq=False)
class OpenStudy:
    """A study with its grid of scores."""

    id: str
    mark: str
    """Changes when the study has grown."""
    title: str
    study: Study
    grid: ScoreGrid


class StudyShelf:
    """Finds and opens studies. Safe to share among threads."""

    def __init__(self, store: Store, imports: StudyImports, shipped: Path = SHIPPED) -> None:
        self._store = store
        self.imports = imports
        self._shipped = shipped
        self._open: LRU[str, OpenStudy] = LRU(6)
        self._titles: dict[Path, str] = {}

    def entries(self, owner: str | None) -> list[StudyEntry]:
        """Return what a visitor can choose from: shipped, own runs that have begun, own files."""
        found = [
            StudyEntry(SHIPPED_PREFIX + path.stem, self._shipped_title(path))
            for path in sorted(self._shipped.glob("*.parquet"))
        ]
        if owner is None:
            return found
        runs = self._store.list_runs(owner, "study", limit=50)
        found += [StudyEntry(r.id, run_title(r)) for r in runs if r.started is not None]
        return found + [StudyEntry(i.id, i.title) for i in self.imports.list(owner)]

    def open(self, study_id: str, *, fresh: bool = False) -> OpenStudy:
        """Return the study of an id, partial while it runs.

        Args:
            study_id: an id that a link or the page gave.
            fresh: look whether a run has more answers by now; without, a study that was opened
                lately is returned as it was, so that a filter never waits for the store.

        Raises:
            NotFoundError: there is none.
            PrismError: it cannot be read.
        """
        known = self._open.get(study_id)
        if known is not None and not fresh:
            return known
        mark, read = self._find(study_id)
        if known is not None and known.mark == mark:
            return known
        title, study = read()
        found = OpenStudy(study_id, mark, title, study, make_grid(study.rows))
        self._open.put(study_id, found)
        return found

    def forget(self, study_id: str) -> None:
        """Close a study, because it was deleted."""
        self._open.pop(study_id)

    def _find(self, study_id: str) -> tuple[str, Callable[[], tuple[str, Study]]]:
        """Return a study's mark, and what reads its title and itself."""
        if study_id.startswith(SHIPPED_PREFIX):
            return "whole", lambda: self._read_shipped(study_id)
        if study_id.startswith(IMPORT_PREFIX):
            return "whole", lambda: (self.imports.get(study_id).title, self.imports.open(study_id))
        run = self._store.get_run(study_id)
        if run.kind != "study":
            raise NotFoundError("There is no study of that id.")
        records = sum(self._store.count_records(run.id).values())
        return f"{run.status} {records}", lambda: (run_title(run), self._read_run(run))

    def _read_run(self, run: RunRow) -> Study:
        """Read a run's study; a finished one is built from its records once, and kept as a file."""
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

    def _read_shipped(self, study_id: str) -> tuple[str, Study]:
        for path in self._shipped.glob("*.parquet"):
            if SHIPPED_PREFIX + path.stem == study_id:
                return self._shipped_title(path), load_study(path)
        raise NotFoundError(f"There is no shipped study '{study_id[:60]}'.")

    def _shipped_title(self, path: Path) -> str:
        """Return the name of a study without reading its rows, or its file's where it has none."""
        if path not in self._titles:
            try:
                about = json.loads((pq.read_metadata(path).metadata or {})[METADATA_KEY])
                self._titles[path] = str(about["spec"]["name"])
            except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
                self._titles[path] = path.stem
        return self._titles[path]


def run_title(run: RunRow) -> str:
    """Return a run's title, and its state where it is not done."""
    return run.title if run.status == "done" else f"{run.title} ({run.status}, partial)"
