"""GSM8K (Cobbe et al., 2021): word problems whose answer is one number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prism_core.checks import Check
from prism_core.checks.numeric import parse_number
from prism_core.errors import InputError
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import read_rows, text_of
from prism_core.tasks.item import Item

_MARK = "####"


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from the published JSON lines or the Hub's Parquet file."""
    items: list[Item] = []
    for path in paths:
        for number, row in enumerate(read_rows(path), start=1):
            question = text_of(row, ["question"], path, number)
            reference = text_of(row, ["answer"], path, number)
            answer = reference.rpartition(_MARK)[2].strip()
            if _MARK not in reference or parse_number(answer) is None:
                raise InputError(f"'{path}', row {number}: the answer has no '{_MARK} number'.")
            items.append(
                Item(
                    f"gsm8k-{number:04d}",
                    "gsm8k",
                    "math",
                    "open",
                    question,
                    check=Check("number", {"answer": answer.replace(",", "")}),
                    reference=reference,
                )
            )
    return items


GSM8K = Benchmark(
    "gsm8k",
    "GSM8K",
    "open",
    ("math",),
    ("gsm8k/test*.jsonl",),
    (HubFile("openai/gsm8k", "main/test-00000-of-00001.parquet", "gsm8k/test.parquet"),),
    read,
    "MIT",
)
