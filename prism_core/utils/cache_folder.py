"""Folders that are made once, whole or not at all, and checked ever after.

`prepared` builds a folder in a hidden sibling, writes a manifest with the size and sha256 of every
file, and renames it into place: a kill at any moment leaves a whole folder or none. A file
lock keeps two processes from doing the work twice. A folder that no longer fits its manifest is
reported and built again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from prism_core.errors import InputError, StorageError
from prism_core.progress import Progress
from prism_core.utils.durable import sync_file, sync_folder

MANIFEST = "manifest.json"
FORMAT = 1
STAGE = "model"
SMALL_FILE = 16 * 1024 * 1024
"""Files up to this size are hashed at every look; larger ones when asked to."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileRecord:
    """One file of a prepared folder."""

    name: str
    """Path below the folder, with forward slashes."""
    size: int
    sha256: str


def cache_dir() -> Path:
    """Return the folder of all that can be made again: `PRISM_CACHE_DIR`, or the usual place."""
    named = os.environ.get("PRISM_CACHE_DIR", "").strip()
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "prism-studio"


def sha256_of(path: Path) -> str:
    """Hash a file's content. Releases the interpreter, so it can run beside other work."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> list[FileRecord]:
    """Read which files a prepared folder should hold, or raise an InputError about the manifest."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            found = content["format"]
            raise InputError(f"{path} has format {found!r}; this version reads {FORMAT}")
        return [FileRecord(**record) for record in content["files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read: {error}") from error


def damage(folder: Path, *, full: bool = False) -> str | None:
    """Say what is wrong with a prepared folder, or None.

    Sizes of all files and the content of small ones are checked always; the content of large ones
    when `full` is set (about 0.4 s for 540 MB on a CPU with SHA instructions).
    """
    try:
        for record in read_manifest(folder):
            path = folder / record.name
            size = path.stat().st_size
            if size != record.size:
                return f"{record.name} has {size} bytes instead of {record.size}"
            if (full or size <= SMALL_FILE) and sha256_of(path) != record.sha256:
                return f"{record.name} does not have the content that was written"
    except (InputError, OSError) as error:
        return str(error)
    return None


def prepared(
    folder: Path,
    build: Callable[[Path], None],
    *,
    verify: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Return `folder`, built by `build(empty_folder)` if it is missing or damaged.

    Raises:
        StorageError: the cache cannot be written.
        CancelledError: stopped while waiting for another process.
    """
    progress = progress or Progress()
    if folder.exists() and damage(folder, full=verify) is None:
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{folder.name}.lock", progress):
            problem = damage(folder, full=verify) if folder.exists() else None
            if folder.exists() and problem is None:  # another process was faster
                return folder
            if problem is not None:
                log.warning("The cache at %s is damaged and is built again: %s", folder, problem)
                progress.update(STAGE, 0, 1, f"cache damaged, building it again: {problem}")
            _build(folder, build)
    except OSError as error:
        if error.errno is None:  # raised by a library or by us, with its own message
            raise
        raise StorageError(
            f"cannot write the cache at {folder.parent}: {error.strerror}. "
            "Free some space or set PRISM_CACHE_DIR to a folder that can be written."
        ) from error
    return folder


def discard(folder: Path) -> None:
    """Remove a folder in one step that other processes see."""
    if folder.exists():
        doomed = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    """Build in a hidden sibling and rename it into place; the caller holds the lock."""
    for stale in folder.parent.glob(f".{folder.name}.*"):
        if stale.is_dir():  # left by a process that was killed: we hold the lock, so nobody's now
            shutil.rmtree(stale, ignore_errors=True)
    fresh = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    fresh.mkdir()
    try:
        build(fresh)
        _write_manifest(fresh)
        discard(folder)
        os.replace(fresh, folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write_manifest(folder: Path) -> None:
    """Record every file and force all of it to disk, so that the rename comes last."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    records = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        records.append(FileRecord(name, path.stat().st_size, sha256_of(path)))
    content = {"format": FORMAT, "files": [asdict(record) for record in records]}
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(content, indent=1), encoding="utf-8")
    for path in [*paths, manifest]:
        sync_file(path)
    for inner in {path.parent for path in [*paths, manifest]}:
        sync_folder(inner)


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock file, saying that we wait and leaving when asked to stop."""
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=0.5)
            break
        except Timeout:
            progress.update(STAGE, 0, 1, "another process is preparing the model")
            progress.check()
    try:
        yield
    finally:
        lock.release()
