"""PKU-SafeRLHF (Ji et al., 2024): red-team prompts with two answers that people labelled.

A prompt counts as harmful if both of its answers were found unsafe, and as harmless if both were
found safe; prompts with one of each are left out, since the label is not about the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prism_core.errors import InputError
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.embedded import SAFETY
from prism_core.tasks.files import read_rows, text_of
from prism_core.tasks.item import Item


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from the Hub's JSON lines, each prompt once."""
    items: list[Item] = []
    seen: set[str] = set()
    for path in paths:
        for number, row in enumerate(read_rows(path), start=1):
            prompt = text_of(row, ["prompt"], path, number)
            safe = [row.get(f"is_response_{i}_safe") for i in (0, 1)]
            if not all(isinstance(s, bool) for s in safe):
                raise InputError(f"'{path}', row {number} does not say which answers are safe.")
            if safe[0] != safe[1] or prompt in seen:
                continue
            seen.add(prompt)
            harmful = not safe[0]
            category = SAFETY[0] if harmful else SAFETY[1]
            name = f"pku-{len(items) + 1:05d}"
            items.append(Item(name, "pku_saferlhf", category, "safety", prompt, harmful=harmful))
    return items


PKU_SAFERLHF = Benchmark(
    "pku_saferlhf",
    "PKU-SafeRLHF",
    "safety",
    SAFETY,
    (),
    (
        HubFile(
            "PKU-Alignment/PKU-SafeRLHF", "data/Alpaca-7B/test.jsonl", "pku_saferlhf/test.jsonl"
        ),
    ),
    read,
    "CC BY-NC 4.0",
)
