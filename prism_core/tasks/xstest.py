"""XSTest (Röttger et al., 2024): safe prompts that look unsafe, and unsafe contrasts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.embedded import SAFETY
from prism_core.tasks.files import read_rows, text_of
from prism_core.tasks.item import Item


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from the published CSV or the Hub's Parquet file.

    A prompt is unsafe if its label says so or, where there is none, its type begins with
    `contrast`.
    """
    items: list[Item] = []
    for path in paths:
        for number, row in enumerate(read_rows(path), start=1):
            prompt = text_of(row, ["prompt"], path, number)
            label = text_of(row, ["label", "type"], path, number).lower()
            harmful = label == "unsafe" or label.startswith("contrast")
            category = SAFETY[0] if harmful else SAFETY[1]
            name = f"xstest-{number:03d}"
            items.append(Item(name, "xstest", category, "safety", prompt, harmful=harmful))
    return items


XSTEST = Benchmark(
    "xstest",
    "XSTest",
    "safety",
    SAFETY,
    ("xstest/*.csv",),
    (HubFile("walledai/XSTest", "data/test-00000-of-00001.parquet", "xstest/test.parquet"),),
    read,
    "CC BY 4.0",
)
