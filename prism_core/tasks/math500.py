"""MATH-500 (Lightman et al., 2023, from Hendrycks et al.): problems whose answer is a formula."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prism_core.checks import Check
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import Item


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield one item a row."""
    for row in rows:
        yield Item(
            f"math500-{row.number:03d}",
            "math500",
            "math",
            "open",
            f"{row.text('problem')}\n\nPut the final answer into \\boxed{{}}.",
            check=Check("maths", {"answer": row.text("answer")}),
            reference=str(row.values.get("solution") or ""),
        )


MATH500 = Benchmark(
    name="math500",
    title="MATH-500",
    kind="open",
    categories=("math",),
    licence="MIT",
    hub=(HubFile("HuggingFaceH4/MATH-500", "test.jsonl", "math500/test.jsonl"),),
    read=read,
)
