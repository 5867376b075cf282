"""A study's work in pieces: which item is answered in which cell with which seed, batch by batch.

A batch is what is computed and committed together. Written answers fill batches across cells, since
64 rows decode as fast as 16; choices take one cell a batch, whose text is then read once for all of
them. Batches follow the order of the cells, neutral first, so that what is finished so far can
already be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prism_core.study.cells import Cell
from prism_core.study.spec import StudySpec
from prism_core.tasks import Item

MAX_ROWS = 96
MAX_CHOICES = 256
BatchKind = Literal["choice", "letter", "text"]
"""Whether choices are scored, the letter of a choice is written, or a text."""


@dataclass(frozen=True)
class Request:
    """One item to be answered in one cell with one seed."""

    cell: Cell
    item: Item
    seed: int
    """The study's seed; see `StudySpec.seeds`."""


@dataclass(frozen=True)
class Batch:
    """What is computed and committed together."""

    model: str
    kind: BatchKind
    max_new_tokens: int
    requests: tuple[Request, ...]


def batches_of(
    spec: StudySpec,
    model: str,
    cells: Sequence[Cell],
    items: Mapping[str, Sequence[Item]],
    letter_tokens: int | None = None,
) -> tuple[Batch, ...]:
    """Return all batches of one model, in the order in which they are done.

    Where the model writes the letter of its choice, `letter_tokens` is the longest such answer.
    """
    order = {cell.label: i for i, cell in enumerate(cells)}
    found = [
        batch
        for task in spec.tasks
        for batch in _of_task(spec, model, cells, items[task], spec.tokens_of(task), letter_tokens)
    ]
    # Sorting is stable: within a cell, tasks keep the order of the spec.
    return tuple(sorted(found, key=lambda batch: order[batch.requests[0].cell.label]))


def _of_task(
    spec: StudySpec,
    model: str,
    cells: Sequence[Cell],
    items: Sequence[Item],
    tokens: int,
    letter_tokens: int | None,
) -> Iterator[Batch]:
    chosen = [item for item in items if item.kind == "choice"]
    written = [item for item in items if item.kind != "choice"]
    # Neither scores nor the likeliest letter depend on a seed: a repeat would be the same again.
    for cell in cells:
        requests = [Request(cell, item, spec.seeds[0]) for item in chosen]
        if letter_tokens is None:
            yield from _slices(requests, model, "choice", 1, MAX_CHOICES)
        else:
            yield from _slices(requests, model, "letter", letter_tokens, MAX_ROWS)
    requests = [Request(cell, item, s) for cell in cells for item in written for s in spec.seeds]
    yield from _slices(requests, model, "text", tokens, MAX_ROWS)


def _slices(
    requests: Sequence[Request], model: str, kind: BatchKind, tokens: int, most: int
) -> Iterator[Batch]:
    for start in range(0, len(requests), most):
        yield Batch(model, kind, tokens, tuple(requests[start : start + most]))
