"""A study's answers as CSV, safe to open in a spreadsheet.

A cell that a spreadsheet would take for a formula gets an apostrophe in front. The items' questions
stand beside the answers, so that the file can be read alone.
"""

from __future__ import annotations

from pathlib import Path

from prism_core.errors import InputError, StorageError
from prism_core.study.file import save_study
from prism_core.study.table import COLUMNS, Study
from prism_core.utils.spreadsheet import safe_text


def to_csv(study: Study) -> str:
    """One row an answer, the question in the last column."""
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
