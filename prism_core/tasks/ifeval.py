"""IFEval (Zhou et al., 2023): prompts with instructions that a program can verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prism_core.checks import Check
from prism_core.errors import InputError
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import read_rows, text_of
from prism_core.tasks.item import Item


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from the published JSON lines."""
    items: list[Item] = []
    for path in paths:
        for number, row in enumerate(read_rows(path), start=1):
            prompt = text_of(row, ["prompt"], path, number)
            names, kwargs = row.get("instruction_id_list"), row.get("kwargs")
            if not isinstance(names, list) or not isinstance(kwargs, list):
                raise InputError(f"'{path}', row {number} lists no instructions.")
            if len(names) != len(kwargs) or not all(isinstance(k, Mapping) for k in kwargs):
                raise InputError(f"'{path}', row {number}: each instruction needs its kwargs.")
            given = [{k: v for k, v in one.items() if v is not None} for one in kwargs]
            options = {"instructions": names, "kwargs": given, "prompt": prompt}
            items.append(
                Item(
                    f"ifeval-{row.get('key', number)}",
                    "ifeval",
                    "instructions",
                    "open",
                    prompt,
                    check=Check("ifeval", options, "alignment"),
                )
            )
    return items


IFEVAL = Benchmark(
    "ifeval",
    "IFEval",
    "open",
    ("instructions",),
    ("ifeval/input_data.jsonl",),
    (HubFile("google/IFEval", "ifeval_input_data.jsonl", "ifeval/ifeval_input_data.jsonl"),),
    read,
    "Apache-2.0",
)
