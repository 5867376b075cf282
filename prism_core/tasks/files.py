"""Tables from files that others made: CSV, JSON, JSON lines, Parquet.

A damaged file is refused with a sentence that says where the damage is. Nothing is executed, and a
file of an unreasonable size is not read.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prism_core.errors import InputError, NotFoundError

MAX_BYTES = 400_000_000
"""Larger files are not read; no benchmark here comes near."""
_Values = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One row of a table, which knows where it stands."""

    path: Path
    number: int
    """Counted from 1 within the file."""
    values: _Values

    def text(self, *columns: str) -> str:
        """Return the text of the first of these columns that has one.

        Raises:
            InputError: none has.
        """
        for column in columns:
            value = self.values.get(column)
            if isinstance(value, str) and value.strip():
                return value
        raise self.error(
            f"there is no text in {' or '.join(map(repr, columns))}; "
            f"the row has {sorted(str(k) for k in self.values)[:8]}"
        )

    def error(self, what: str) -> InputError:
        """Make an error that says where the row is and what is wrong with it."""
        return InputError(f"'{self.path}', row {self.number}: {what}.")


def read_rows(path: Path) -> list[Row]:
    """Read a table, in the format that the file's ending names.

    Raises:
        NotFoundError: there is no such file.
        InputError: the file is damaged, too large or of another sort.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"'{path.name}' is not a table; allowed are {', '.join(_READERS)}.")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"'{path}' is larger than {MAX_BYTES:,} bytes.")
        return [Row(path, number, values) for number, values in enumerate(reader(path), start=1)]
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file '{path}'.") from error
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(f"'{path}' cannot be read: {error}.") from error


def _read_csv(path: Path) -> list[_Values]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _read_jsonl(path: Path) -> list[_Values]:
    rows: list[_Values] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(_object(json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise InputError(f"'{path}', line {number}: not a JSON object ({error}).") from error
    return rows


def _read_json(path: Path) -> list[_Values]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, list):
            raise ValueError("the file is not a list")
        return [_object(row) for row in found]
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is not a list of JSON objects: {error}.") from error


def _object(value: object) -> _Values:
    if not isinstance(value, dict):
        raise ValueError(f"{str(value)[:40]!r} is not an object")
    return value


def _read_parquet(path: Path) -> list[_Values]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows: list[_Values] = parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise InputError(f"'{path}' is not a readable Parquet file: {error}.") from error
    return rows


_READERS = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
