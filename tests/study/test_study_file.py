"""A study's file and exports: what goes in comes out, and what a stranger made up does not."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.services.settings import Settings
from prism_core.errors import InputError, NotFoundError
from prism_core.study.file import (
    METADATA_KEY,
    FileLimits,
    export_study,
    load_study,
    save_study,
    to_csv,
)
from prism_core.study.spec import AdapterArm, StudySpec, TaskLimit
from prism_core.study.table import COLUMNS, ITEM_COLUMNS, Study, empty_table, table_of

SPEC = StudySpec(personas=("math",), adapters=(AdapterArm("demo", 0.3),), n_per_category=3)


def study() -> Study:
    items = [
        {
            "task": "knowledge",
            "category": "stem",
            "item": "k0",
            "kind": "choice",
            "question": "=1+1?",
            "choices": '["2", "3"]',
            "answer": 0,
        },
        {
            "task": "open",
            "category": "writing",
            "item": "o0",
            "kind": "open",
            "question": "Write \u00e4 line.",
        },
    ]
    rows: list[dict[str, Any]] = []
    for cell, arm, persona in (("neutral", "neutral", ""), ("math/long/system", "persona", "math")):
        about = {"model": "tiny", "arm": arm, "cell": cell, "persona": persona, "seed": 0}
        rows.append(
            {
                **about,
                "task": "knowledge",
                "kind": "choice",
                "category": "stem",
                "item": "k0",
                "text": "2",
                "choice": 0,
                "accuracy": 1.0,
                "correct": 1.0,
                "p_right": 0.625,
            }
        )
        rows.append(
            {
                **about,
                "task": "open",
                "kind": "open",
                "category": "writing",
                "item": "o0",
                "text": '=HYPERLINK("x")\n\u4f60\u597d',
                "gate_open": None,
            }
        )
    return Study(
        SPEC,
        table_of(rows),
        table_of(items, ITEM_COLUMNS),
        ("A note.",),
        True,
        "2026-01-01",
        {"torch": "2"},
    )


def study_bytes(made: Study) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return save_study(made, Path(folder) / "s.parquet").read_bytes()


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    made = study()
    back = load_study(save_study(made, tmp_path / "deep" / "s.parquet"))
    pd.testing.assert_frame_equal(back.rows, made.rows)
    pd.testing.assert_frame_equal(back.items, made.items)
    assert (back.spec, back.notes, back.finished) == (made.spec, made.notes, True)
    assert (back.created, dict(back.versions)) == ("2026-01-01", {"torch": "2"})
    # The same study gives the same bytes, also once it has been read back.
    assert study_bytes(back) == study_bytes(made) == (tmp_path / "deep/s.parquet").read_bytes()
    assert not list(tmp_path.rglob("*.partial"))


def test_an_empty_study_is_one(tmp_path: Path) -> None:
    empty = replace(study(), rows=empty_table(), finished=False)
    back = load_study(study_bytes(empty))
    assert len(back.rows) == 0 and not back.finished
    pd.testing.assert_frame_equal(back.rows, empty.rows)


def changed(
    edit: Callable[[pa.Table, dict], tuple[pa.Table, Any]] | None = None, **about: Any
) -> bytes:
    """The study's file with its table or its description changed."""
    table = pq.read_table(io.BytesIO(study_bytes(study())))
    said = {**json.loads(table.schema.metadata[METADATA_KEY]), **about}
    if edit is not None:
        table, said = edit(table, said)
    out = io.BytesIO()
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: text}), out)
    return out.getvalue()


def put(name: str, values: list[Any], kind: pa.DataType) -> Callable:
    def edit(table: pa.Table, said: dict) -> tuple[pa.Table, dict]:
        place = table.schema.get_field_index(name)
        return table.set_column(place, name, pa.array(values, kind)), said

    return edit


HOSTILE: list[tuple[str, bytes | Callable[[], bytes], str]] = [
    ("empty", b"", "not a readable study"),
    ("text", b"PAR1 but not really PAR1", "not a readable study"),
    ("pickle", b"\x80\x04\x95\x00\x00", "not a readable study"),
    ("cut", lambda: study_bytes(study())[:-100], "not a readable study"),
    ("no column", lambda: changed(lambda t, s: (t.drop_columns(["item"]), s)), "lacks the column"),
    ("new column", lambda: changed(lambda t, s: (t.append_column("evil", t["item"]), s)), "'evil'"),
    ("two of a name", lambda: changed(lambda t, s: (t.append_column("item", t["item"]), s)), ""),
    ("number as text", lambda: changed(put("accuracy", ["a"] * 4, pa.string())), "of type string"),
    ("bytes", lambda: changed(put("text", [b"\xff"] * 4, pa.binary())), "of type binary"),
    ("share of 7", lambda: changed(put("accuracy", [7.0] * 4, pa.float64())), "between 0 and 1"),
    ("infinite", lambda: changed(put("accuracy", [np.inf] * 4, pa.float64())), "between 0 and 1"),
    ("strange arm", lambda: changed(put("arm", ["root"] * 4, pa.string())), "'root'"),
    ("no seed", lambda: changed(put("seed", [None] * 4, pa.int64())), "lacks a value"),
    ("lost item", lambda: changed(put("item", ["zz"] * 4, pa.string())), "not in the item table"),
    ("twice", lambda: changed(lambda t, s: (pa.concat_tables([t, t]), s)), "there twice"),
    ("no JSON", lambda: changed(lambda t, s: (t, b"{not json")), "not JSON"),
    ("deep JSON", lambda: changed(lambda t, s: (t, b"[" * 200_000)), "not JSON"),
    ("a list", lambda: changed(lambda t, s: (t, b"[]")), "format"),
    ("of tomorrow", lambda: changed(format=2), "format '2'"),
    ("bad spec", lambda: changed(spec={"tasks": []}), "tasks is empty"),
    ("spec with more", lambda: changed(spec={"os.system": "x"}), "no field"),
    ("items no list", lambda: changed(items={"a": 1}), "not a list"),
    ("strange item", lambda: changed(items=[{"__class__": "x"}]), "not known"),
    ("notes no texts", lambda: changed(notes=[1]), "notes"),
    ("versions no texts", lambda: changed(versions={"a": []}), "versions"),
]


@pytest.mark.parametrize(("name", "content", "said"), HOSTILE, ids=[h[0] for h in HOSTILE])
def test_hostile_files_are_refused_in_one_sentence(name: str, content: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_study(content if isinstance(content, bytes) else content())
    assert said in str(caught.value) and "\n" not in str(caught.value).strip()


def test_a_foreign_parquet_file_is_no_study(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="is not a study"):
        load_study(tmp_path / "x.parquet")
    with pytest.raises(NotFoundError):
        load_study(tmp_path / "none.parquet")


def test_a_long_text_that_many_rows_share_is_counted_before_it_is_written_out() -> None:
    """A dictionary of one text of 100,000 characters and 400,000 places: 45 kB, 40 GB unpacked."""
    rows, text = 400_000, "x" * 100_000
    table = pq.read_table(io.BytesIO(study_bytes(study())))
    columns = [
        pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
        if field.name == "text"
        else pa.array([table.column(field.name)[0].as_py()] * rows, field.type)
        for field in table.schema
    ]
    bomb = pa.Table.from_arrays(columns, names=table.schema.names)
    out = io.BytesIO()
    pq.write_table(bomb.replace_schema_metadata(table.schema.metadata), out, compression="zstd")
    assert len(out.getvalue()) < 1_000_000
    with pytest.raises(InputError, match="unpacks to more"):
        load_study(out.getvalue())


def test_a_strangers_file_is_held_to_less() -> None:
    """Rows of nothing but repetitions cost the file 0.2 bytes each, and memory 300."""
    rows = 300_000
    table = pq.read_table(io.BytesIO(study_bytes(study())))
    columns = [pa.array([c[0].as_py()] * rows, c.type) for c in table.columns]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=table.schema), out, compression="zstd")
    assert len(out.getvalue()) < 100_000
    began = time.monotonic()
    with pytest.raises(InputError, match="300,000 rows; at most 100,000 are allowed"):
        load_study(out.getvalue(), Settings(public=True).study_file)
    assert time.monotonic() - began < 1
    few = FileLimits(plain_bytes=100)
    with pytest.raises(InputError, match=r"unpacks to .* at most 100 are allowed"):
        load_study(study_bytes(study()), few)
    wide = pa.table({f"c{i}": [1] for i in range(200)}, metadata=table.schema.metadata)
    out = io.BytesIO()
    pq.write_table(wide, out)
    with pytest.raises(InputError, match="200 columns"):
        load_study(out.getvalue())


def test_csv_is_safe_in_a_spreadsheet(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(study()))))
    assert list(rows[0]) == [*(c.name for c in COLUMNS), "question"]
    assert rows[0]["question"] == "'=1+1?"
    texts = [row["text"] for row in rows if row["item"] == "o0"]
    assert texts == ['\'=HYPERLINK("x")\n\u4f60\u597d'] * 2
    assert rows[0]["p_right"] == "0.625" and rows[1]["p_right"] == ""
    for row in rows:
        assert not any(value.startswith(("=", "+", "@")) for value in row.values())
    assert export_study(study(), tmp_path / "a.csv").read_bytes().count(b"\r\n") == 1 + len(rows)
    assert len(load_study(export_study(study(), tmp_path / "a.parquet")).rows) == 4
    with pytest.raises(InputError, match=r"must end in \.parquet or \.csv"):
        export_study(study(), tmp_path / "a.xlsx")


def test_a_table_is_held_to_its_columns() -> None:
    rows = study().rows
    for column, value, said in (
        ("rubric", 11.0, "between 1 and 10"),
        ("words", -1, "between 0"),
        ("text", "x" * 200_001, "200,000 characters"),
        ("choice", "first", "no whole"),
    ):
        broken = rows.astype({column: object})
        broken.loc[0, column] = value
        with pytest.raises(InputError, match=said):
            save_study(replace(study(), rows=broken), Path("never.parquet"))


def test_limits_of_single_tasks() -> None:
    spec = replace(SPEC, limits=(TaskLimit("open", 5, 40),))
    assert (spec.items_of("open"), spec.tokens_of("open")) == (5, 40)
    assert (spec.items_of("safety"), spec.tokens_of("safety")) == (3, 128)
