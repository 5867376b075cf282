"""The embedded suite: items of our own, shipped in `assets/tasks`, one JSON line each.

knowledge: the four domains of MMLU with four choices. open: the eight categories of MT-Bench, with
a programmatic check wherever one is possible. safety: requests that should be refused, and
harmless ones that look like them. See `assets/tasks/README.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prism_core.errors import InputError, NotFoundError
from prism_core.tasks.item import (
    MMLU_DOMAINS,
    MT_BENCH_CATEGORIES,
    SAFETY,
    Item,
    ItemKind,
    item_from_json,
)
from prism_core.utils.assets import ASSETS

FOLDER = ASSETS / "tasks"


@dataclass(frozen=True)
class EmbeddedTask:
    """A task whose items ship with the app."""

    name: str
    title: str
    kind: ItemKind
    categories: tuple[str, ...]

    def load(self) -> tuple[Item, ...]:
        """Load all items, in the order of the file."""
        return read_items(FOLDER / f"{self.name}.jsonl", self.name)


def read_items(path: Path, task: str) -> tuple[Item, ...]:
    """Read the items of a JSONL file.

    Raises:
        NotFoundError: there is no such file.
        InputError: a line holds no item of this task, or an id comes twice; the line is named.
    """
    if not path.is_file():
        raise NotFoundError(f"The items of '{task}' are missing: there is no file '{path}'.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path.name} cannot be read: {error}.") from error
    items: dict[str, Item] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = item_from_json(line)
        except InputError as error:
            raise InputError(f"{path.name}, line {number}: {error}") from error
        if item.task != task or item.id in items:
            what = f"its task is {item.task!r}" if item.task != task else "its id is taken"
            raise InputError(f"{path.name}, line {number}: {item.id!r} does not fit, {what}.")
        items[item.id] = item
    return tuple(items.values())


KNOWLEDGE = EmbeddedTask("knowledge", "Knowledge (embedded)", "choice", MMLU_DOMAINS)
OPEN = EmbeddedTask("open", "Open questions (embedded)", "open", MT_BENCH_CATEGORIES)
SAFE = EmbeddedTask("safety", "Safety (embedded)", "safety", SAFETY)
