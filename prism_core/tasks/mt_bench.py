"""MT-Bench (Zheng et al., 2023): 80 questions of two turns in eight categories.

Answers are judged, not checked. Reference answers come from the file beside the questions where it
is there, else from the question's own row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prism_core.errors import InputError
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.embedded import MT_BENCH_CATEGORIES
from prism_core.tasks.files import Row, read_rows
from prism_core.tasks.item import Item


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from `question.jsonl`, with the references beside it."""
    items: list[Item] = []
    for path in paths:
        references = _references(path.parent)
        for number, row in enumerate(read_rows(path), start=1):
            turns: Any = row.get("turns") or row.get("prompt")
            category = str(row.get("category"))
            if not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
                raise InputError(f"'{path}', row {number} has no list of turns.")
            if category not in MT_BENCH_CATEGORIES:
                raise InputError(f"'{path}', row {number}: no category '{category[:40]}'.")
            name = str(row.get("question_id") or row.get("prompt_id") or number)
            given = references.get(name) or _listed(row)
            items.append(
                Item(
                    f"mt-{name}",
                    "mt_bench",
                    category,
                    "open",
                    turns[0],
                    follow_ups=tuple(turns[1:]),
                    reference="\n\n".join(given),
                )
            )
    return items


def _listed(row: Row) -> list[str]:
    given = row.get("reference")
    return [str(text) for text in given] if isinstance(given, list) else []


def _references(folder: Path) -> Mapping[str, list[str]]:
    """Reference answers by question, both turns, where their file is there."""
    path = folder / "reference_answer_gpt-4.jsonl"
    found: dict[str, list[str]] = {}
    if not path.is_file():
        return found
    for number, row in enumerate(read_rows(path), start=1):
        try:
            found[str(row["question_id"])] = [str(t) for t in row["choices"][0]["turns"]]
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(f"'{path}', row {number} is no reference answer: {error}.") from error
    return found


MT_BENCH = Benchmark(
    "mt_bench",
    "MT-Bench",
    "open",
    MT_BENCH_CATEGORIES,
    (),
    (HubFile("HuggingFaceH4/mt_bench_prompts", "raw/question.jsonl", "mt_bench/question.jsonl"),),
    read,
    "Apache-2.0",
)
