"""JailbreakBench (Chao et al., 2024): harmful behaviours, and harmless ones on the same themes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import SAFETY, Item, safety_item


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield one item a row; only the file's name tells the benign behaviours."""
    for row in rows:
        harmful = "benign" not in row.path.name
        name = f"jbb-{'harmful' if harmful else 'harmless'}-{row.number:03d}"
        yield safety_item(name, "jailbreakbench", row.text("Goal", "instruction"), harmful)


def _file(name: str) -> HubFile:
    return HubFile("JailbreakBench/JBB-Behaviors", f"data/{name}", f"jailbreakbench/{name}")


JAILBREAKBENCH = Benchmark(
    name="jailbreakbench",
    title="JailbreakBench",
    kind="safety",
    categories=SAFETY,
    licence="MIT",
    local=("jailbreakbench/*.json",),
    hub=(_file("harmful-behaviors.csv"), _file("benign-behaviors.csv")),
    read=read,
)
