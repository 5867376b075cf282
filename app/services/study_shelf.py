"""All studies that a visitor can explore: shipped ones, their own runs, and files they brought.

An id is `shipped-NAME`, `import-...`, or a run's; ids are looked up, never joined to a path. Opened
studies are kept with their grid of scores, so that a filter costs no reading. A visitor's file is
checked, kept under an id made here, and never executed; its own name is only shown. Whoever knows
the id may look, as with runs; listing and deleting are the owner's.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.services.event_log import EventLog
from app.services.quotas import Quotas, check_quota
from app.services.settings import SHIPPED_PREFIX, Settings
from prism_core import __version__
from prism_core.analysis import ScoreGrid, make_grid
from prism_core.errors import InputError, NotFoundError, PrismError, StorageError
from prism_core.storage import RunRow, Store
from prism_core.study.file import METADATA_KEY, load_study, save_study
from prism_core.study.records import read_study
from prism_core.study.table import Study
from prism_core.utils.assets import ASSETS
from prism_core.utils.lru import LRU

SHIPPED = ASSETS / "studies"
IMPORT_PREFIX = "import-"
_ID = re.compile(r"import-[0-9a-f]{32}")
MAX_OWN = 8
"""Files of one visitor; the oldest makes room for a ninth."""
MAX_ALL = 2_000
"""Files of all visitors together; one more is refused, since none of theirs makes room for it."""


@dataclass(frozen=True)
class StudyEntry:
    """One study on offer, under the id that a link to it names."""

    id: str
    title: str


@dataclass(frozen=True)
class ImportedStudy(StudyEntry):
    """A study file that a visitor brought along, under an unguessable id."""

    owner: str
    client: str = ""
    """Whose quota it counts against; empty where nothing is counted."""


class StudyImports:
    """The folder of imported studies. Safe to share among threads."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        quotas: Quotas | None = None,
        log: EventLog | None = None,
    ) -> None:
        self._folder = folder
        self._limits = settings.study_file
        self._quotas, self._log = quotas or Quotas(), log
        self._guard = threading.Lock()

    def add(self, source: Path, owner: str, client: str = "") -> ImportedStudy:
        """Check a study file and keep it.

        Raises:
            InputError: it is too large, not a study, or one more than there is room for.
            StorageError: it cannot be kept.
        """
        try:
            size = source.stat().st_size
            if size > self._limits.file_bytes:
                raise InputError(
                    f"The file has {size / 1e6:,.1f} MB; at most "
                    f"{self._limits.file_bytes / 1e6:,.0f} MB are allowed here."
                )
            content = source.read_bytes()
        except OSError as error:
            raise InputError(f"The file cannot be read: {error.strerror}.") from error
        study = load_study(content, self._limits)
        if study.rows.empty:
            raise InputError("This study holds no answer yet, so there is nothing to explore.")
        new_id = IMPORT_PREFIX + secrets.token_hex(16)
        found = ImportedStudy(new_id, study.spec.name, owner, client)
        with self._guard:
            self._make_room(found, len(content))
            self._write(found, content)
        return found

    def open(self, study_id: str) -> Study:
        """Return the study of that id.

        Raises:
            NotFoundError: there is none.
        """
        self.get(study_id)
        return load_study(self._folder / f"{study_id}.parquet")

    def get(self, study_id: str) -> ImportedStudy:
        """Return what is known of a file.

        Raises:
            NotFoundError: there is none of that id.
        """
        path = self._folder / f"{study_id}.json"
        if not _ID.fullmatch(study_id) or not path.is_file():
            raise NotFoundError("There is no imported study of that id. It may have been deleted.")
        data = json.loads(path.read_text(encoding="utf-8"))
        owner, client = str(data["owner"]), str(data.get("client", ""))
        return ImportedStudy(study_id, str(data["title"]), owner, client)

    def list(self, owner: str | None = None) -> list[ImportedStudy]:
        """Return the files of a visitor, or of all, the latest first."""
        if not self._folder.is_dir():
            return []
        paths = sorted(self._folder.glob(f"{IMPORT_PREFIX}*.json"), key=_age)
        found = [self.get(path.stem) for path in paths if _ID.fullmatch(path.stem)]
        return [one for one in found if owner is None or one.owner == owner]

    def delete(self, study_id: str, owner: str) -> None:
        """Forget a visitor's file.

        Raises:
            NotFoundError: there is none, or it is another visitor's.
        """
        with self._guard:
            if self.get(study_id).owner != owner:
                raise NotFoundError("There is no imported study of that id among yours.")
            self._remove(study_id)

    def forget_older(self, moment: float) -> int:
        """Delete what was brought before a moment, in seconds since 1970; return how many files."""
        with self._guard:
            old = [one for one in self.list() if -_age(self._folder / f"{one.id}.json") < moment]
            for one in old:
                self._remove(one.id)
        return len(old)

    def _make_room(self, new: ImportedStudy, size: int) -> None:
        """Refuse a file that exceeds a quota; the visitor's own oldest makes room for a ninth."""
        everybody, quotas = self.list(), self._quotas
        mine = [one for one in everybody if one.owner == new.owner]
        leaving = mine[MAX_OWN - 1 :]
        staying = [one for one in everybody if one not in leaving]
        theirs = [one for one in staying if new.client and one.client == new.client]
        for held, most, what in (
            (len(theirs), quotas.kept_files, "study files"),
            (self._bytes(theirs) + size, quotas.kept_bytes, "bytes of study files"),
        ):
            check_quota(held, most, what, new.client, self._log)
        if len(staying) >= MAX_ALL or self._bytes(staying) + size > quotas.all_kept_bytes:
            raise InputError("This copy has no room for another study file. Try again another day.")
        for one in leaving:
            self._remove(one.id)

    def _bytes(self, files: Sequence[ImportedStudy]) -> int:
        return sum(file_size(self._folder / f"{one.id}.parquet") for one in files)

    def _write(self, found: ImportedStudy, content: bytes) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{found.id}.parquet").write_bytes(content)
            about = json.dumps({"owner": found.owner, "title": found.title, "client": found.client})
            (self._folder / f"{found.id}.json").write_text(about, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"The study cannot be kept: {error.strerror}.") from error

    def _remove(self, study_id: str) -> None:
        for ending in (".json", ".parquet"):
            (self._folder / f"{study_id}{ending}").unlink(missing_ok=True)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0  # deleted by another thread just now


def file_size(path: Path) -> int:
    """Return the bytes of a file; none where another thread has just deleted it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


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
        return [*found, *self.imports.list(owner)]

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
