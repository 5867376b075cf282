"""TruthfulQA (Lin et al., 2022), multiple choice with one right answer (MC1).

The published file lists the right answer first; here the choices are shuffled, each question by its
own text, so that the place says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prism_core.errors import InputError
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import read_rows, text_of
from prism_core.tasks.item import Item


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from the Hub's Parquet file."""
    items: list[Item] = []
    for path in paths:
        for number, row in enumerate(read_rows(path), start=1):
            question = text_of(row, ["question"], path, number)
            targets: Any = row.get("mc1_targets")
            try:
                texts = [str(t) for t in targets["choices"]]
                right = texts[[int(x) for x in targets["labels"]].index(1)]
            except (TypeError, KeyError, ValueError) as error:
                raise InputError(f"'{path}', row {number} has no MC1 targets: {error}.") from error
            shuffled = sorted(dict.fromkeys(texts), key=lambda t: _rank(question, t))
            answer = shuffled.index(right)
            items.append(
                Item(
                    f"mc1-{number:04d}",
                    "truthfulqa",
                    "truthfulness",
                    "choice",
                    question,
                    tuple(shuffled),
                    answer,
                )
            )
    return items


def _rank(question: str, choice: str) -> bytes:
    return hashlib.sha256(f"{question}\0{choice}".encode()).digest()


TRUTHFULQA = Benchmark(
    "truthfulqa",
    "TruthfulQA (MC1)",
    "choice",
    ("truthfulness",),
    (),
    (
        HubFile(
            "truthfulqa/truthful_qa",
            "multiple_choice/validation-00000-of-00001.parquet",
            "truthfulqa/multiple_choice.parquet",
        ),
    ),
    read,
    "Apache-2.0",
)
