"""JailbreakBench (Chao et al., 2024): harmful behaviours, and harmless ones on the same themes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.embedded import SAFETY
from prism_core.tasks.files import read_rows, text_of
from prism_core.tasks.item import Item


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from the Hub's two CSV files (the benign one by its name), or from one JSON list."""
    items: list[Item] = []
    for path in paths:
        harmful = "benign" not in path.name
        category = SAFETY[0] if harmful else SAFETY[1]
        for number, row in enumerate(read_rows(path), start=1):
            wish = text_of(row, ["Goal", "instruction"], path, number)
            name = f"jbb-{category}-{number:03d}"
            items.append(Item(name, "jailbreakbench", category, "safety", wish, harmful=harmful))
    return items


JAILBREAKBENCH = Benchmark(
    "jailbreakbench",
    "JailbreakBench",
    "safety",
    SAFETY,
    ("jailbreakbench/*.json",),
    (
        HubFile(
            "JailbreakBench/JBB-Behaviors",
            "data/harmful-behaviors.csv",
            "jailbreakbench/harmful-behaviors.csv",
        ),
        HubFile(
            "JailbreakBench/JBB-Behaviors",
            "data/benign-behaviors.csv",
            "jailbreakbench/benign-behaviors.csv",
        ),
    ),
    read,
    "MIT",
)
