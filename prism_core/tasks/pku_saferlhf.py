"""PKU-SafeRLHF (Ji et al., 2024): red-team prompts with two answers that people labelled.

A prompt counts as harmful if both of its answers were found unsafe, and as harmless if both were
found safe; prompts with one of each are left out, since the label is not about the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import SAFETY, Item, safety_item


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield each prompt once, numbered among those that are kept."""
    seen: set[str] = set()
    for row in rows:
        prompt = row.text("prompt")
        safe = [row.values.get(f"is_response_{i}_safe") for i in (0, 1)]
        if not all(isinstance(s, bool) for s in safe):
            raise row.error("it does not say which answers are safe")
        if safe[0] != safe[1] or prompt in seen:
            continue
        seen.add(prompt)
        yield safety_item(f"pku-{len(seen):05d}", "pku_saferlhf", prompt, harmful=not safe[0])


PKU_SAFERLHF = Benchmark(
    name="pku_saferlhf",
    title="PKU-SafeRLHF",
    kind="safety",
    categories=SAFETY,
    licence="CC BY-NC 4.0",
    hub=(
        HubFile(
            "PKU-Alignment/PKU-SafeRLHF", "data/Alpaca-7B/test.jsonl", "pku_saferlhf/test.jsonl"
        ),
    ),
    read=read,
)
