"""Tables from files that others made: CSV, JSON, JSON lines, Parquet.

Every reader yields plain rows and says where a damaged file is damaged. Nothing is executed, and a
file of an unreasonable size is not read.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prism_core.errors import InputError, NotFoundError

MAX_BYTES = 400_000_000
"""Larger files are not read; no benchmark here comes near."""
Row = Mapping[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The rows of a table, by the file's ending.

    Raises:
        NotFoundError: there is no such file.
        InputError: the file is damaged, too large or of another sort.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"'{path.name}' is no table; allowed are {', '.join(_READERS)}.")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"'{path}' is larger than {MAX_BYTES:,} bytes.")
        return reader(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file '{path}'.") from error
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(f"'{path}' cannot be read: {error}.") from error


def _read_csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _read_jsonl(path: Path) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(_object(json.loads(line)))
        except ValueError as error:
            raise InputError(f"'{path}', line {number}: no JSON object ({error}).") from error
    return rows


def _read_json(path: Path) -> list[Row]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, list):
            raise ValueError("the file is no list")
        return [_object(row) for row in found]
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is no list of JSON objects: {error}.") from error


def _object(value: object) -> Row:
    if not isinstance(value, dict):
        raise ValueError(f"{str(value)[:40]!r} is no object")
    return value


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise InputError(f"'{path}' is no Parquet file that can be read: {error}.") from error
    return rows


_READERS = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}


def text_of(row: Row, names: Sequence[str], path: Path, number: int) -> str:
    """The first of the named columns that the row has, as text.

    Raises:
        InputError: it has none of them, or the text is empty.
    """
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return value
    raise InputError(
        f"'{path}', row {number}: there is no text in {' or '.join(map(repr, names))}; "
        f"the row has {sorted(str(k) for k in row)[:8]}."
    )
