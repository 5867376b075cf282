"""ARC (Clark et al., 2018): school science questions, the easy and the challenge set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prism_core.errors import InputError
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import read_rows, text_of
from prism_core.tasks.item import Item


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from the Hub's Parquet files."""
    items: list[Item] = []
    for path in paths:
        for number, row in enumerate(read_rows(path), start=1):
            question = text_of(row, ["question"], path, number)
            offered: Any = row.get("choices")
            try:
                labels, texts = list(offered["label"]), [str(t) for t in offered["text"]]
                answer = labels.index(row["answerKey"])
            except (TypeError, KeyError, ValueError) as error:
                raise InputError(f"'{path}', row {number} has no choices: {error}.") from error
            name = str(row.get("id") or f"{path.stem}-{number}")[:80]
            items.append(Item(name, "arc", "stem", "choice", question, tuple(texts), answer))
    return items


ARC = Benchmark(
    "arc",
    "ARC",
    "choice",
    ("stem",),
    (),
    (
        HubFile("allenai/ai2_arc", "ARC-Easy/test-00000-of-00001.parquet", "arc/easy.parquet"),
        HubFile(
            "allenai/ai2_arc", "ARC-Challenge/test-00000-of-00001.parquet", "arc/challenge.parquet"
        ),
    ),
    read,
    "CC BY-SA 4.0",
)
