"""ARC (Clark et al., 2018): school science questions, the easy and the challenge set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import Item


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield one item a row; the right choice is named by its label, not by its place."""
    for row in rows:
        try:
            labels = list(row.values["choices"]["label"])
            texts = tuple(str(text) for text in row.values["choices"]["text"])
            answer = labels.index(row.values["answerKey"])
        except (TypeError, KeyError, ValueError) as error:
            raise row.error(f"no choices ({error})") from error
        name = str(row.values.get("id") or f"{row.path.stem}-{row.number}")[:80]
        yield Item(name, "arc", "stem", "choice", row.text("question"), texts, answer)


def _test_file(name: str, local: str) -> HubFile:
    return HubFile("allenai/ai2_arc", f"{name}/test-00000-of-00001.parquet", local)


ARC = Benchmark(
    name="arc",
    title="ARC",
    kind="choice",
    categories=("stem",),
    licence="CC BY-SA 4.0",
    hub=(
        _test_file("ARC-Easy", "arc/easy.parquet"),
        _test_file("ARC-Challenge", "arc/challenge.parquet"),
    ),
    read=read,
)
