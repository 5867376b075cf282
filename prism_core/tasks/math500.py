"""MATH-500 (Lightman et al., 2023, from Hendrycks et al.): problems whose answer is a formula."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prism_core.checks import Check
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import read_rows, text_of
from prism_core.tasks.item import Item


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from the published JSON lines."""
    items: list[Item] = []
    for path in paths:
        for number, row in enumerate(read_rows(path), start=1):
            problem = text_of(row, ["problem"], path, number)
            answer = text_of(row, ["answer"], path, number)
            items.append(
                Item(
                    f"math500-{number:03d}",
                    "math500",
                    "math",
                    "open",
                    f"{problem}\n\nPut the final answer into \\boxed{{}}.",
                    check=Check("maths", {"answer": answer}),
                    reference=str(row.get("solution") or ""),
                )
            )
    return items


MATH500 = Benchmark(
    "math500",
    "MATH-500",
    "open",
    ("math",),
    (),
    (HubFile("HuggingFaceH4/MATH-500", "test.jsonl", "math500/test.jsonl"),),
    read,
    "MIT",
)
