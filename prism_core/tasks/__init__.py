"""Tasks: sets of items by name, and a seeded, stratified choice among them.

`TASKS` is the list of all there are: the embedded suite, which always works, and real benchmarks,
which are read from a folder (`PRISM_DATA_DIR`) or fetched from the Hub when they are first used.
"""

from __future__ import annotations

import hashlib

from prism_core.errors import InputError, NotFoundError
from prism_core.tasks.choice_benchmarks import ARC, MMLU, TRUTHFULQA
from prism_core.tasks.embedded import KNOWLEDGE, OPEN, SAFE
from prism_core.tasks.ifeval import IFEVAL
from prism_core.tasks.item import (
    MMLU_DOMAINS,
    MT_BENCH_CATEGORIES,
    SAFETY,
    Item,
    ItemKind,
    Task,
    item_from_json,
    item_to_json,
)
from prism_core.tasks.maths_benchmarks import GSM8K, MATH500
from prism_core.tasks.mt_bench import MT_BENCH
from prism_core.tasks.safety_benchmarks import HARMBENCH, JAILBREAKBENCH, PKU_SAFERLHF, XSTEST

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        KNOWLEDGE,
        OPEN,
        SAFE,
        MMLU,
        ARC,
        TRUTHFULQA,
        GSM8K,
        MATH500,
        MT_BENCH,
        HARMBENCH,
        JAILBREAKBENCH,
        XSTEST,
        PKU_SAFERLHF,
        IFEVAL,
    )
}
"""Every task by name, the embedded suite first."""


def get_task(name: str) -> Task:
    """Return a task by name.

    Raises:
        NotFoundError: no task has that name; the message lists the names.
    """
    if name not in TASKS:
        raise NotFoundError(f"There is no task '{name[:60]}'; there are {', '.join(TASKS)}.")
    return TASKS[name]


def pick_items(task: Task, n_per_category: int | None, seed: int = 0) -> tuple[Item, ...]:
    """Pick the same number of items of every category, by the seed alone.

    Each category's items have one order for each seed, and the first `n_per_category` are taken:
    a larger n contains the smaller, so that a study that is widened pays only for what is new.
    None, or more than there are, takes all of a category.

    Raises:
        InputError: n is less than 1.
        NotFoundError: the task's data is not here.
    """
    if n_per_category is not None and n_per_category < 1:
        raise InputError(f"n per category is {n_per_category}; it must be 1 or more.")
    items = task.load()
    chosen: list[Item] = []
    for category in task.categories:
        own = [item for item in items if item.category == category]
        own.sort(key=lambda item: _rank(item, seed))
        chosen += own[:n_per_category]
    return tuple(chosen)


def _rank(item: Item, seed: int) -> bytes:
    """Return a place in the order of one seed; the same on every machine."""
    return hashlib.sha256(f"{seed}\0{item.task}\0{item.id}".encode()).digest()


__all__ = [
    "MMLU_DOMAINS",
    "MT_BENCH_CATEGORIES",
    "SAFETY",
    "TASKS",
    "Item",
    "ItemKind",
    "Task",
    "get_task",
    "item_from_json",
    "item_to_json",
    "pick_items",
]
