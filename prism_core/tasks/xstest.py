"""XSTest (Röttger et al., 2024): safe prompts that look unsafe, and unsafe contrasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import SAFETY, Item, safety_item


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield one item a row of the published CSV or of the Hub's Parquet file.

    A prompt is unsafe if its label says so or, where there is none, its type begins with
    `contrast`.
    """
    for row in rows:
        label = row.text("label", "type").lower()
        harmful = label == "unsafe" or label.startswith("contrast")
        yield safety_item(f"xstest-{row.number:03d}", "xstest", row.text("prompt"), harmful)


XSTEST = Benchmark(
    name="xstest",
    title="XSTest",
    kind="safety",
    categories=SAFETY,
    licence="CC BY 4.0",
    local=("xstest/*.csv",),
    hub=(HubFile("walledai/XSTest", "data/test-00000-of-00001.parquet", "xstest/test.parquet"),),
    read=read,
)
