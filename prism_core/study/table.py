"""A study's results as two tables: one row an answer, one row an item.

A row of `rows` is one item answered in one cell with one seed. Columns, types and ranges stand in
`COLUMNS` and `ITEM_COLUMNS`, and `conform` holds every table to them, whether it was just measured
or came from a stranger's file. What is not known is missing, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from prism_core.errors import InputError
from prism_core.study.spec import StudySpec

ColumnKind = Literal["text", "real", "whole", "flag"]
DTYPES: Mapping[ColumnKind, str] = {
    "text": "str",
    "real": "float64",
    "whole": "Int64",
    "flag": "boolean",
}

MAX_TEXT = 200_000
"""Characters of one cell of a table."""
TURN_MARK = "\n\n[next turn]\n\n"
"""Stands between the answers of a conversation of several turns."""
NEUTRAL = "neutral"
"""The cell that all others are compared with."""


@dataclass(frozen=True)
class Column:
    """What a column may hold."""

    name: str
    kind: ColumnKind
    meaning: str
    low: float | None = None
    high: float | None = None
    optional: bool = False
    """Whether a value may be missing (a text may always be empty)."""
    later: bool = False
    """Whether files of earlier versions lack it; its values are then missing."""


def _share(name: str, meaning: str) -> Column:
    return Column(name, "real", meaning, 0.0, 1.0, True)


COLUMNS: tuple[Column, ...] = (
    Column("model", "text", "Name of the model"),
    Column("arm", "text", "neutral, persona or adapter"),
    Column("persona", "text", "Name of the persona; empty for none"),
    Column("persona_kind", "text", "expert, behaviour or control; empty for none"),
    Column("length", "text", "Which of the persona's texts; empty for none"),
    Column("placement", "text", "The turn that carries it; empty for none"),
    Column("adapter", "text", "Name of the adapter; empty for none"),
    _share("threshold", "The gate opens at this probability"),
    Column("cell", "text", "Short name of the cell, unique within its model"),
    Column("task", "text", "Name of the task"),
    Column("kind", "text", "choice, open or safety"),
    Column("category", "text", "The item's category"),
    Column("item", "text", "The item's id, unique within its task"),
    Column("seed", "whole", "Seed of the answer; repeats of one item differ in it", 0, 2**63 - 1),
    Column("text", "text", "The answer; for choices the chosen choice's text, or what named none"),
    Column("choice", "whole", "Index of the chosen choice", 0, 1_000, True),
    Column("tokens", "whole", "Tokens of the answer", 0, 10**9, True),
    Column("prompt_tokens", "whole", "Tokens of the prompt", 0, 10**9, True),
    _share("gate", "What the gate said: the probability that the persona helps"),
    Column("gate_open", "flag", "Whether the adapter answered", optional=True),
    _share("accuracy", "Right choice, or passed check of what can be verified"),
    _share("alignment", "Mean of preference, form, rubric and safety, as far as they are known"),
    _share("p_right", "Probability of the right choice among the choices"),
    _share("correct", "1 for the right choice, 0 for a wrong one"),
    _share("check", "Score of the item's programmatic check"),
    Column("rubric", "real", "The judge's mark from 1 to 10", 1.0, 10.0, True),
    _share("preference", "P(better than neutral), mean of both orders"),
    _share("preferred", "1 or 0 where both orders agree, 0.5 where they do not"),
    _share("consistent", "1 where both orders chose the same answer"),
    _share("refused", "1 for a refusal, by rule"),
    _share("refused_judge", "1 for a refusal, by the judge"),
    Column("words", "whole", "Words of the answer", 0, 10**9, True),
    Column("thoughts", "whole", "Tokens of the answer that were thoughts", 0, 10**9, True, True),
    Column("cost", "real", "What the answer's tokens cost", 0, 10**9, True, True),
    Column("preference_2", "real", "P(better than neutral) by the second judge", 0, 1, True, True),
)
"""The columns of `rows`, in order."""

ITEM_COLUMNS: tuple[Column, ...] = (
    Column("task", "text", "Name of the task"),
    Column("category", "text", "The item's category"),
    Column("item", "text", "The item's id, unique within its task"),
    Column("kind", "text", "choice, open or safety"),
    Column("question", "text", "What was asked; further turns follow the turn mark"),
    Column("choices", "text", "The choices as a JSON list; empty for none"),
    Column("answer", "whole", "Index of the right choice", 0, 1_000, True),
    Column("harmful", "flag", "Whether it should be refused", optional=True),
    Column("check", "text", "The check as a JSON object; empty for none"),
    Column("reference", "text", "A correct answer; empty for none"),
)
"""The columns of `items`, in order."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "arm": (NEUTRAL, "persona", "adapter"),
    "persona_kind": ("", "expert", "behaviour", "control"),
    "length": ("", "min", "short", "long"),
    "placement": ("", "system", "user"),
    "kind": ("choice", "open", "safety"),
}
"""Columns whose texts are words of a fixed list."""
KEY = ("model", "cell", "task", "item", "seed")
"""What makes a row unique."""


@dataclass(frozen=True, eq=False)
class Study:
    """A study: how it was made and what came out, so far or whole."""

    spec: StudySpec
    rows: pd.DataFrame
    items: pd.DataFrame
    notes: tuple[str, ...] = ()
    """What a reader should know, as sentences: the way of scoring, nulls, what was left out."""
    finished: bool = True
    created: str = ""
    """When it was begun, in UTC, ISO 8601."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """What it was made with: libraries, models' fingerprints."""


def empty_table(columns: Sequence[Column] = COLUMNS) -> pd.DataFrame:
    """Return a table without rows."""
    return pd.DataFrame({c.name: pd.Series(dtype=DTYPES[c.kind]) for c in columns})


def table_of(
    records: Sequence[Mapping[str, Any]], columns: Sequence[Column] = COLUMNS
) -> pd.DataFrame:
    """Return a table of plain records; what one leaves out is missing, or empty text.

    Raises:
        InputError: a value does not fit its column.
    """
    data: dict[str, list[Any]] = {
        c.name: [r.get(c.name, "" if c.kind == "text" else None) for r in records] for c in columns
    }
    return conform(pd.DataFrame(data, columns=[c.name for c in columns]), columns)


def conform(table: pd.DataFrame, columns: Sequence[Column] = COLUMNS) -> pd.DataFrame:
    """Return the table with its columns in order and of their types.

    Raises:
        InputError: a column is missing or unknown, or a value is not allowed; the message says
            which and why.
    """
    names = [c.name for c in columns]
    if missing := [name for name in names if name not in table.columns]:
        raise InputError(f"The table lacks the column '{missing[0]}'.")
    if unknown := [str(name) for name in table.columns if name not in names]:
        raise InputError(f"The table has a column '{unknown[0][:40]}' that is not known.")
    fitted = pd.DataFrame({c.name: _fit(table[c.name], c) for c in columns})
    for name, allowed in WORDS.items():
        if name in names:
            _check_words(fitted[name], name, allowed)
    return fitted


def check_rows(rows: pd.DataFrame, items: pd.DataFrame) -> None:
    """Refuse rows that cannot belong together.

    Raises:
        InputError: an answer stands there twice, or to an item that is not in the item table.
    """
    twice = rows.duplicated(list(KEY))
    if twice.any():
        first = rows.loc[twice, list(KEY)].iloc[0].tolist()
        raise InputError(f"The answer {' / '.join(map(str, first))[:120]} is there twice.")
    if items.duplicated(["task", "item"]).any():
        raise InputError("An item is in the item table twice.")
    known = pd.MultiIndex.from_frame(items[["task", "item"]])
    lost = ~pd.MultiIndex.from_frame(rows[["task", "item"]]).isin(known)
    if lost.any():
        first = rows.loc[lost, ["task", "item"]].iloc[0].tolist()
        raise InputError(f"The item {' / '.join(first)[:120]} is not in the item table.")


def _fit(values: pd.Series, column: Column) -> pd.Series:
    try:
        fitted = values.astype(DTYPES[column.kind])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The column '{column.name}' holds what is no {column.kind}: {str(error)[:120]}"
        ) from error
    absent = fitted.isna()
    if absent.any() and not column.optional:
        raise InputError(f"The column '{column.name}' lacks a value in row {int(absent.argmax())}.")
    if column.kind == "text":
        if len(fitted) and int(fitted.str.len().max()) > MAX_TEXT:
            raise InputError(f"A text in '{column.name}' has more than {MAX_TEXT:,} characters.")
        return fitted
    for end, outside in ((column.low, fitted.lt), (column.high, fitted.gt)):
        if end is not None and bool(outside(end).fillna(False).any()):
            bad = fitted[outside(end).fillna(False)].iloc[0]
            raise InputError(
                f"The column '{column.name}' holds {bad}; it must lie between {column.low:g} "
                f"and {column.high:g}."
            )
    return fitted


def _check_words(values: pd.Series, name: str, allowed: tuple[str, ...]) -> None:
    for value in values.unique():
        if value not in allowed:
            shown = ", ".join(word or "(empty)" for word in allowed)
            raise InputError(f"The column '{name}' holds '{value[:40]}', not one of {shown}.")
