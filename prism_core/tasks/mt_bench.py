"""MT-Bench (Zheng et al., 2023): 80 questions of two turns in eight categories.

Answers are judged, not checked. Reference answers come from the file beside the questions where it
is there, else from the question's own row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row, read_rows
from prism_core.tasks.item import MT_BENCH_CATEGORIES, Item


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield one item a row of `question.jsonl`, with its reference answers."""
    references_in = cache(_references)
    for row in rows:
        turns = row.values.get("turns") or row.values.get("prompt")
        category = str(row.values.get("category"))
        if not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
            raise row.error("no list of turns")
        if category not in MT_BENCH_CATEGORIES:
            raise row.error(f"no category '{category[:40]}'")
        name = str(row.values.get("question_id") or row.values.get("prompt_id") or row.number)
        own = row.values.get("reference")
        given = references_in(row.path.parent).get(name) or (own if isinstance(own, list) else [])
        yield Item(
            f"mt-{name}",
            "mt_bench",
            category,
            "open",
            turns[0],
            follow_ups=tuple(turns[1:]),
            reference="\n\n".join(map(str, given)),
        )


def _references(folder: Path) -> Mapping[str, list[object]]:
    """Return GPT-4's answers to both turns by question; empty where their file is not there."""
    path = folder / "reference_answer_gpt-4.jsonl"
    found: dict[str, list[object]] = {}
    for row in read_rows(path) if path.is_file() else ():
        try:
            found[str(row.values["question_id"])] = list(row.values["choices"][0]["turns"])
        except (KeyError, IndexError, TypeError) as error:
            raise row.error(f"this is not a reference answer ({error})") from error
    return found


MT_BENCH = Benchmark(
    name="mt_bench",
    title="MT-Bench",
    kind="open",
    categories=MT_BENCH_CATEGORIES,
    licence="Apache-2.0",
    hub=(
        HubFile("HuggingFaceH4/mt_bench_prompts", "raw/question.jsonl", "mt_bench/question.jsonl"),
    ),
    read=read,
)
