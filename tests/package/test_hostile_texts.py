"""Specs, tables, items, study files and picks that are broken: each is a sentence."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.hostile_files import NO_JSON, ODD_VALUES, changed, places
from support.paths import ROOT

from prism_core.analysis.pick import read_pick
from prism_core.errors import PrismError
from prism_core.models.remote.catalogue import parse_endpoints
from prism_core.personas.library import parse_personas
from prism_core.prism.spec import PRESETS
from prism_core.rl.spec import RL_PRESETS
from prism_core.robustness.points import load_points
from prism_core.storage import pack, unpack
from prism_core.study.file import load_study
from prism_core.study.spec import StudySpec, from_yaml
from prism_core.tasks.embedded import read_items
from prism_core.tasks.files import read_rows
from prism_core.utils.cache_folder import MANIFEST, read_manifest

YAML = [
    *("", "\0", "~", "null", "1", "[]", "{}", "'", "*a", "&a", "!", "@", "`", "%", "\r", "- - -"),
    *("- " * 50_000, "[" * 100_000, "{" * 100_000, "a: " * 1_000, "x" * 1_000_000),
    *("a: &a [*a]", "a: &x [1]\nb: &y [*x, *x]\nc: [*y, *y]", "<<: x", "? [a]\n: b", "a: b: c"),
    "!!python/object/apply:os.system ['true']",
    *("a: 1\na: 2", "%YAML 9.9\n---\n", "--- a\n--- b", "a:\n\tb: 1", '"\\xZZ"', "a: \x85"),
    *("name: 2026-01-01", "name: 0x10", "name: [", "seeds: 1", "tasks: {a: {b: {c: d}}}"),
    *("models: [[[]]]", "limits: x", "adapters: [null]", "\ufeff", "\u2028"),
]


def escaped(act: Callable[..., object], *arguments: object) -> str | None:
    """Return what ended in another error than ours, in words."""
    try:
        act(*arguments)
    except PrismError as error:
        return None if str(error).strip() else "an error without a sentence"
    except Exception as error:
        return f"{act} {str(arguments)[:80]}: {type(error).__name__}: {str(error)[:120]}"
    return None


@pytest.mark.parametrize("parse", [from_yaml, parse_personas, parse_endpoints])
def test_every_broken_yaml_is_a_sentence(parse: Callable[[str], object]) -> None:
    assert [found for text in YAML if (found := escaped(parse, text))] == []


def test_every_broken_json_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    found = []
    for content in NO_JSON.values():
        for suffix in (".json", ".jsonl", ".csv", ".parquet"):
            path = tmp_path / f"table{suffix}"
            path.write_bytes(content)
            found.append(escaped(read_rows, path))
        found.append(escaped(read_items, tmp_path / "table.jsonl", "open"))
        found.append(escaped(load_points, [tmp_path / "table.json"]))
        found.append(escaped(read_pick, content.decode("latin-1")))
        (tmp_path / "cache" / MANIFEST).write_bytes(content)
        found.append(escaped(read_manifest, tmp_path / "cache"))
    assert len(found) > 120 and set(found) == {None}


def test_every_odd_value_of_a_spec_is_a_sentence() -> None:
    found = []
    for spec in (StudySpec(), next(iter(PRESETS.values())), next(iter(RL_PRESETS.values()))):
        data = pack(spec)
        for path in places(data):
            found += [
                escaped(unpack, type(spec), changed(data, path, value)) for value in ODD_VALUES
            ]
    assert len(found) > 500 and set(found) == {None}


def test_every_odd_value_of_an_item_is_a_sentence(tmp_path: Path) -> None:
    path, found = tmp_path / "items.jsonl", []
    lines = (ROOT / "assets" / "tasks" / "open.jsonl").read_text(encoding="utf-8").splitlines()
    item = json.loads(lines[0])
    for place in places(item):
        for value in ODD_VALUES:
            path.write_text(json.dumps(changed(item, place, value)), encoding="utf-8")
            found.append(escaped(read_items, path, "open"))
    assert len(found) > 100 and set(found) == {None}


def test_every_damaged_study_file_is_a_sentence() -> None:
    good = next((ROOT / "assets" / "studies").rglob("*.parquet")).read_bytes()
    rng, found = random.Random(1), []
    for keep in (0, 4, 100, len(good) // 2, len(good) - 5):
        found.append(escaped(load_study, good[:keep]))
    for number in range(40):  # half of them in the footer, which says what the rest is
        noise, first = bytearray(good), (len(good) - 4_000 if number % 2 else 0)
        for _ in range(6):
            noise[rng.randrange(first, len(good))] = rng.randrange(256)
        found.append(escaped(load_study, bytes(noise)))
    assert set(found) == {None}
