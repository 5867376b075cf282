"""A study as one Parquet file that opens anywhere, without a model and a store; or as CSV.

The rows are the file's table; spec, items, notes and versions are JSON in its key-value metadata
under `prism.study`. A file may come from a stranger: sizes are checked before anything is read,
columns must be of plain types, every value is held to its range, and nothing in it is executed.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.storage import pack, unpack
from prism_core.study.spec import StudySpec, check_spec
from prism_core.study.table import (
    COLUMNS,
    ITEM_COLUMNS,
    MAX_TEXT,
    Column,
    ColumnKind,
    Study,
    check_rows,
    conform,
    table_of,
)
from prism_core.utils.durable import replacing
from prism_core.utils.spreadsheet import safe_text

METADATA_KEY = b"prism.study"
FORMAT = 1
MAX_METADATA = 100_000_000
_LEVEL = 15
_ROWS_AT_ONCE = 2_000
_ARROW: dict[ColumnKind, pa.DataType] = {
    "text": pa.string(),
    "real": pa.float64(),
    "whole": pa.int64(),
    "flag": pa.bool_(),
}


@dataclass(frozen=True)
class FileLimits:
    """How much of a file is read at all; a stranger's is held to less, see `Settings`."""

    file_bytes: int = 300_000_000
    """A larger file is refused before it is opened."""
    rows: int = 5_000_000
    """A row of nothing but repetitions costs a file nothing, and memory 300 bytes."""
    plain_bytes: int = 2_000_000_000
    """The most that a file may unpack to."""


def save_study(study: Study, path: Path | str) -> Path:
    """Write a study, whole or not at all; the same study gives the same bytes.

    Raises:
        InputError: a table does not have the columns it should.
        StorageError: the file cannot be written.
    """
    target = Path(path)
    table = _to_arrow(study)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            pq.write_table(table, part, compression="zstd", compression_level=_LEVEL)
    except OSError as error:
        raise StorageError(f"The study cannot be written to {target}: {error.strerror}.") from error
    return target


def load_study(source: Path | str | bytes, limits: FileLimits = FileLimits()) -> Study:
    """Open a study's file read-only.

    Args:
        source: the file's path, or its content.
        limits: how large it may be.

    Raises:
        NotFoundError: there is no such file.
        InputError: it is not a study, is damaged or too large, or holds what a study cannot.
    """
    content: Any = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    if isinstance(content, Path) and not content.is_file():
        raise NotFoundError(f"There is no study file at '{content}'.")
    size = len(source) if isinstance(source, bytes) else content.stat().st_size
    if size > limits.file_bytes:
        raise InputError(f"The file has {size:,} bytes; at most {limits.file_bytes:,} are allowed.")
    try:
        with pq.ParquetFile(content, arrow_extensions_enabled=False) as file:
            _check_size(file.metadata, limits)
            about = _about(file.metadata.metadata)
            _check_types(file.schema_arrow)
        texts = [c.name for c in COLUMNS if c.kind == "text" and not c.later]
        # Reopened: only now is it known that the columns to be read as dictionaries are there.
        with pq.ParquetFile(content, read_dictionary=texts, arrow_extensions_enabled=False) as file:
            rows = _read(file, limits.plain_bytes)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"This is not a readable study file: {str(error)[:160]}") from error
    return _build(about, conform(rows))


def to_csv(study: Study) -> str:
    """Return one row an answer, the question in the last column, safe to open in a spreadsheet.

    A cell that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    questions = study.items[["task", "item", "question"]]
    table = study.rows.merge(questions, on=["task", "item"], how="left", validate="many_to_one")
    texts = [c.name for c in COLUMNS if c.kind == "text"] + ["question"]
    for name in texts:
        table[name] = table[name].map(safe_text)
    return str(table.to_csv(index=False, lineterminator="\r\n"))


def export_study(study: Study, path: Path) -> Path:
    """Write a study to a `.parquet` or `.csv` file.

    Raises:
        InputError: the name has another ending.
        StorageError: the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending == ".parquet":
        return save_study(study, path)
    if ending != ".csv":
        raise InputError(f"'{path.name[:80]}' must end in .parquet or .csv.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_csv(study), encoding="utf-8", newline="")
    except OSError as error:
        raise StorageError(f"'{path}' cannot be written: {error.strerror}.") from error
    return path


def _to_arrow(study: Study) -> pa.Table:
    rows, items = conform(study.rows), conform(study.items, ITEM_COLUMNS)
    check_rows(rows, items)
    schema = pa.schema([pa.field(c.name, _ARROW[c.kind]) for c in COLUMNS])
    arrays = [pa.array(_plain(rows[c.name], c), type=_ARROW[c.kind]) for c in COLUMNS]
    about = {
        "format": FORMAT,
        "spec": pack(study.spec),
        "items": _records(items),
        "notes": list(study.notes),
        "finished": study.finished,
        "created": study.created,
        "versions": dict(study.versions),
    }
    text = json.dumps(about, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    table = pa.Table.from_arrays(arrays, schema=schema)
    return table.replace_schema_metadata({METADATA_KEY: text.encode()})


def _plain(values: pd.Series, column: Column) -> Any:
    """Return the column as Arrow takes it, a missing value being null."""
    if column.kind == "real":
        return pa.array(values.to_numpy(), from_pandas=True)
    if column.kind == "text":
        return values.astype(object).tolist()
    return [None if v is pd.NA else v for v in values.astype(object).tolist()]


def _records(items: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the items as JSON, one object each."""
    plain = items.astype(object).where(items.notna(), None)
    return [{str(k): v for k, v in record.items()} for record in plain.to_dict("records")]


def _read(file: pq.ParquetFile, most: int) -> pd.DataFrame:
    """Read the file's rows, a few at a time: the sizes it claims to have need not be true.

    Texts are read as a dictionary and places in it, so that one long text which a million rows
    share is counted before it is written out a million times.
    """
    batches, plain = [], 0
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
        plain += batch.nbytes + sum(_written_out(column) for column in batch.columns)
        if plain > most:
            raise InputError(f"The file unpacks to more than {most:,} bytes.")
        batches.append(batch)
    table = pa.Table.from_batches(batches, None if batches else file.schema_arrow)
    for place, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(place, column.name, table.column(place).cast(pa.string()))
    # The pandas part of the metadata is a stranger's too: it is not looked at.
    rows = table.to_pandas(ignore_metadata=True)
    return rows.assign(**{c.name: None for c in COLUMNS if c.name not in rows.columns})


def _written_out(column: pa.Array) -> int:
    """Return the bytes of a column of texts once each row has its own."""
    if not isinstance(column, pa.DictionaryArray):
        return 0
    lengths = pc.binary_length(column.dictionary)
    if (pc.max(lengths).as_py() or 0) > 4 * MAX_TEXT:
        raise InputError(f"A text in the file has more than {MAX_TEXT:,} characters.")
    return int(pc.sum(lengths.take(column.indices)).as_py() or 0)


def _check_size(metadata: pq.FileMetaData, limits: FileLimits) -> None:
    for what, found, most in (
        ("columns", metadata.num_columns, 2 * len(COLUMNS)),  # which are unknown is said later
        ("rows", metadata.num_rows, limits.rows),
        ("parts", metadata.num_row_groups, limits.rows // _ROWS_AT_ONCE + 1),
    ):
        if found > most:
            raise InputError(f"The file has {found:,} {what}; at most {most:,} are allowed.")
    plain = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if plain > limits.plain_bytes:
        raise InputError(
            f"The file unpacks to {plain:,} bytes; at most {limits.plain_bytes:,} are allowed."
        )


def _check_types(schema: pa.Schema) -> None:
    known = {c.name: c for c in COLUMNS}
    if len(schema.names) != len(set(schema.names)):
        raise InputError("The file has two columns of one name.")
    lost = [c.name for c in COLUMNS if c.name not in schema.names and not c.later]
    if lost:
        raise InputError(f"The file lacks the column '{lost[0]}'.")
    for column in schema:
        if column.name not in known:
            raise InputError(f"The file has a column '{column.name[:40]}' that is not known.")
        wanted, given = _ARROW[known[column.name].kind], column.type
        if pa.types.is_dictionary(given):
            given = given.value_type
        is_text = pa.types.is_string(wanted) and pa.types.is_large_string(given)
        if given != wanted and not is_text:
            raise InputError(
                f"The column '{column.name}' is of type {str(column.type)[:40]}, not {wanted}."
            )


def _about(metadata: dict[bytes, bytes] | None) -> dict[str, Any]:
    text = (metadata or {}).get(METADATA_KEY)
    if text is None:
        raise InputError(
            "This Parquet file is not a study: it has no 'prism.study' in its metadata."
        )
    if len(text) > MAX_METADATA:
        raise InputError("The study's description is too long to be one.")
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The study's description is not JSON: {str(error)[:80]}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else None
        raise InputError(f"The study has format {str(found)[:20]!r}; this version reads {FORMAT}.")
    return about


def _build(about: dict[str, Any], rows: pd.DataFrame) -> Study:
    spec = check_spec(unpack(StudySpec, about.get("spec")))
    records = about.get("items")
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise InputError("The study's items are not a list of objects.")
    names = {c.name for c in ITEM_COLUMNS}
    if strange := [key for record in records for key in record if key not in names]:
        raise InputError(f"An item has a field '{strange[0][:40]}' that is not known.")
    items = table_of(records, ITEM_COLUMNS)
    check_rows(rows, items)
    notes, versions = about.get("notes"), about.get("versions")
    if not isinstance(notes, list) or not all(isinstance(n, str) for n in notes):
        raise InputError("The study's notes are not a list of texts.")
    if not isinstance(versions, dict) or not all(isinstance(v, str) for v in versions.values()):
        raise InputError("The study's versions are not texts.")
    return Study(
        spec=spec,
        rows=rows,
        items=items,
        notes=tuple(n[:2_000] for n in notes[:200]),
        finished=about.get("finished") is True,
        created=str(about.get("created", ""))[:40],
        versions={str(k)[:80]: v[:200] for k, v in list(versions.items())[:100]},
    )
