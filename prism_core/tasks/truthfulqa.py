"""TruthfulQA (Lin et al., 2022), multiple choice with one right answer (MC1).

The published file lists the right answer first; here the choices are shuffled, each question by its
own text, so that the place says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import Item


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield one item a row."""
    for row in rows:
        question = row.text("question")
        try:
            texts = [str(text) for text in row.values["mc1_targets"]["choices"]]
            right = texts[[int(x) for x in row.values["mc1_targets"]["labels"]].index(1)]
        except (TypeError, KeyError, ValueError) as error:
            raise row.error(f"no MC1 targets ({error})") from error
        ranks = {text: hashlib.sha256(f"{question}\0{text}".encode()).digest() for text in texts}
        choices = tuple(sorted(ranks, key=lambda text: ranks[text]))
        name, answer = f"mc1-{row.number:04d}", choices.index(right)
        yield Item(name, "truthfulqa", "truthfulness", "choice", question, choices, answer)


TRUTHFULQA = Benchmark(
    name="truthfulqa",
    title="TruthfulQA (MC1)",
    kind="choice",
    categories=("truthfulness",),
    licence="Apache-2.0",
    hub=(
        HubFile(
            "truthfulqa/truthful_qa",
            "multiple_choice/validation-00000-of-00001.parquet",
            "truthfulqa/multiple_choice.parquet",
        ),
    ),
    read=read,
)
