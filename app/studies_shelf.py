"""All studies that a visitor can explore: shipped ones, their own runs, and files they brought.

An id is `shipped-NAME`, `import-...`, or a run's; ids are looked up, never joined to a path. Opened
studies are kept with their grid of scores, so that a filter costs no reading.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from app.study_imports import PREFIX, StudyImports
from prism_core.errors import NotFoundError
from prism_core.figures import ScoreGrid, make_grid
from prism_core.storage import RunRow, Store
from prism_core.study import read_study
from prism_core.study_file import METADATA_KEY, load_study
from prism_core.study_table import Study

SHIPPED = Path(__file__).resolve().parent.parent / "assets" / "studies"
SHIPPED_PREFIX = "shipped-"
Source = Literal["shipped", "run", "import"]
_KEPT = 6


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
        self._open: OrderedDict[tuple[str, str], OpenStudy] = OrderedDict()
        self._guard = threading.Lock()
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

    def open(self, study_id: str) -> OpenStudy:
        """The study of an id, partial while it runs.

        Raises:
            NotFoundError: there is none.
            PrismError: it cannot be read.
        """
        mark = self._mark(study_id)
        key = (study_id, mark)
        with self._guard:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
        title, source, study = self._read(study_id)
        found = OpenStudy(study_id, mark, title, source, study, make_grid(study.rows))
        with self._guard:
            for old in [k for k in self._open if k[0] == study_id]:
                del self._open[old]
            self._open[key] = found
            while len(self._open) > _KEPT:
                self._open.popitem(last=False)
        return found

    def _mark(self, study_id: str) -> str:
        if study_id.startswith((SHIPPED_PREFIX, PREFIX)):
            return ""
        run = self._run(study_id)
        return f"{run.status} {sum(self._store.count_records(run.id).values())}"

    def _read(self, study_id: str) -> tuple[str, Source, Study]:
        if study_id.startswith(SHIPPED_PREFIX):
            path = self._shipped_path(study_id)
            return self._shipped_title(path), "shipped", load_study(path)
        if study_id.startswith(PREFIX):
            return self.imports.get(study_id).title, "import", self.imports.open(study_id)
        run = self._run(study_id)
        return run_title(run), "run", read_study(self._store, run.id)

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
