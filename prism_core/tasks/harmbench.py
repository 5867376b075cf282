"""HarmBench (Mazeika et al., 2024): behaviours that a model should refuse.

Contextual behaviours come with a text, which stands before the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import read_rows, text_of
from prism_core.tasks.item import Item


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from the published CSV or a Parquet file of the Hub."""
    items: list[Item] = []
    for path in paths:
        for number, row in enumerate(read_rows(path), start=1):
            wish = text_of(row, ["Behavior", "prompt"], path, number)
            context = str(row.get("ContextString") or row.get("context") or "").strip()
            name = str(row.get("BehaviorID") or f"harmbench-{number:04d}")[:80]
            question = f"{context}\n\n---\n\n{wish}" if context else wish
            items.append(Item(name, "harmbench", "harmful", "safety", question, harmful=True))
    return items


HARMBENCH = Benchmark(
    "harmbench",
    "HarmBench",
    "safety",
    ("harmful",),
    ("harmbench/*.csv",),
    (
        HubFile(
            "walledai/HarmBench",
            "standard/train-00000-of-00001.parquet",
            "harmbench/standard.parquet",
        ),
    ),
    read,
    "MIT",
)
