"""HarmBench (Mazeika et al., 2024): behaviours that a model should refuse.

Contextual behaviours come with a text, which stands before the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import Item, safety_item


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield one item a row of the published CSV or of the Hub's Parquet file."""
    for row in rows:
        wish = row.text("Behavior", "prompt")
        context = str(row.values.get("ContextString") or row.values.get("context") or "").strip()
        name = str(row.values.get("BehaviorID") or f"harmbench-{row.number:04d}")[:80]
        question = f"{context}\n\n---\n\n{wish}" if context else wish
        yield safety_item(name, "harmbench", question, harmful=True)


HARMBENCH = Benchmark(
    name="harmbench",
    title="HarmBench",
    kind="safety",
    categories=("harmful",),
    licence="MIT",
    local=("harmbench/*.csv",),
    hub=(
        HubFile(
            "walledai/HarmBench",
            "standard/train-00000-of-00001.parquet",
            "harmbench/standard.parquet",
        ),
    ),
    read=read,
)
