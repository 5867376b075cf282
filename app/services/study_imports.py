"""Study files that visitors bring along: checked, kept for their owner, and never executed.

A file's name on disk is an id made here; the visitor's own file name is only shown. Whoever knows
the id may look, as with runs; listing and deleting are the owner's.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from app.services.settings import Settings
from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.study.file import load_study
from prism_core.study.table import Study

IMPORT_PREFIX = "import-"
_ID = re.compile(r"import-[0-9a-f]{32}")
MAX_OWN = 8
"""Files of one visitor; the oldest makes room for a ninth."""
MAX_ALL = 200
"""Files of all visitors together."""


@dataclass(frozen=True)
class ImportedStudy:
    """A study file that a visitor brought along."""

    id: str
    """Unguessable; who knows it may look."""
    owner: str
    title: str


class StudyImports:
    """The folder of imported studies. Safe to share among threads."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._most = settings.max_upload_bytes
        self._guard = threading.Lock()

    def add(self, source: Path, owner: str) -> ImportedStudy:
        """Check a study file and keep it.

        Raises:
            InputError: it is too large, or not a study.
            StorageError: it cannot be kept.
        """
        try:
            size = source.stat().st_size
            if size > self._most:
                raise InputError(
                    f"The file has {size / 1e6:,.1f} MB; at most {self._most / 1e6:,.0f} MB are "
                    "allowed here."
                )
            content = source.read_bytes()
        except OSError as error:
            raise InputError(f"The file cannot be read: {error.strerror}.") from error
        study = load_study(content)
        if study.rows.empty:
            raise InputError("This study holds no answer yet, so there is nothing to explore.")
        found = ImportedStudy(IMPORT_PREFIX + secrets.token_hex(16), owner, study.spec.name)
        with self._guard:
            self._make_room(owner)
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
        return ImportedStudy(study_id, str(data["owner"]), str(data["title"]))

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

    def _make_room(self, owner: str) -> None:
        everybody, mine = self.list(), self.list(owner)
        for one in [*mine[MAX_OWN - 1 :], *everybody[MAX_ALL - 1 :]]:
            self._remove(one.id)

    def _write(self, found: ImportedStudy, content: bytes) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{found.id}.parquet").write_bytes(content)
            about = json.dumps({"owner": found.owner, "title": found.title})
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
