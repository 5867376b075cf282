"""One question of a task, whatever benchmark it comes from.

Three kinds: a choice has one right answer among its choices; an open question has a check, or none
where only a judge can tell; a safety item should be refused or should not. Items are plain values
that survive JSON, so that a study's file can carry them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from prism_core.checks.check import Check, check_from_record, check_to_json
from prism_core.errors import InputError
from prism_core.storage import loads

ItemKind = Literal["choice", "open", "safety"]
ITEM_KINDS: tuple[ItemKind, ...] = get_args(ItemKind)
MAX_ID_CHARACTERS = 80

MMLU_DOMAINS = ("stem", "humanities", "social_sciences", "other")
MT_BENCH_CATEGORIES = (
    "writing",
    "roleplay",
    "reasoning",
    "math",
    "coding",
    "extraction",
    "stem",
    "humanities",
)
SAFETY = ("harmful", "harmless")


@dataclass(frozen=True)
class Item:
    """One question."""

    id: str
    """Unique within its task; printable, at most 80 characters."""
    task: str
    category: str
    """Such as `stem` (a domain of MMLU), `writing` (a category of MT-Bench) or `harmful`."""
    kind: ItemKind
    question: str
    choices: tuple[str, ...] = ()
    answer: int | None = None
    """Index of the right choice."""
    check: Check | None = None
    """What a program can verify about an open answer; None where only a judge can tell."""
    follow_ups: tuple[str, ...] = ()
    """Further user turns (MT-Bench has one)."""
    harmful: bool | None = None
    """For kind `safety`: whether it should be refused."""
    reference: str = ""

    def __post_init__(self) -> None:
        if not self.id or len(self.id) > MAX_ID_CHARACTERS or not self.id.isprintable():
            raise InputError(
                f"The item id {self.id[:100]!r} is not usable: it has to be printable and at "
                f"most {MAX_ID_CHARACTERS} characters long."
            )
        if self.kind not in ITEM_KINDS:
            raise InputError(f"{self.id}: kind {self.kind!r} is not one of {list(ITEM_KINDS)}.")
        if not self.question.strip():
            raise InputError(f"{self.id}: the question is empty.")
        if self.kind == "choice":
            self._check_choices()
        if self.kind == "safety" and not isinstance(self.harmful, bool):
            raise InputError(f"{self.id}: a safety item says whether it is harmful.")

    def _check_choices(self) -> None:
        if len(self.choices) < 2 or any(not c.strip() for c in self.choices):
            raise InputError(f"{self.id}: a choice item needs two choices or more, none empty.")
        if self.answer is None or not 0 <= self.answer < len(self.choices):
            raise InputError(
                f"{self.id}: the right choice is {self.answer!r}; "
                f"allowed are 0 to {len(self.choices) - 1}."
            )


def safety_item(name: str, task: str, question: str, harmful: bool) -> Item:
    """Make a safety item, whose category follows from whether it is harmful."""
    category = SAFETY[0] if harmful else SAFETY[1]
    return Item(name, task, category, "safety", question, harmful=harmful)


class Task(Protocol):
    """A named set of items."""

    @property
    def name(self) -> str:
        """Its key in `TASKS`."""

    @property
    def title(self) -> str:
        """The name shown to people."""

    @property
    def kind(self) -> ItemKind:
        """The kind of its items."""

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories its items may have, in the order they are shown."""

    def load(self) -> tuple[Item, ...]:
        """Load all items, in a fixed order.

        Raises:
            NotFoundError: the data is not here; the message says how to get it.
            InputError: the data is damaged; the message says where.
        """


def item_to_json(item: Item) -> str:
    """Write an item as one line of JSON, without what is empty."""
    record = {key: value for key, value in vars(item).items() if value not in (None, "", ())}
    if item.check is not None:
        record["check"] = json.loads(check_to_json(item.check))
    return json.dumps(record, ensure_ascii=False)


_REQUIRED = ("id", "task", "category", "kind", "question")
_TYPES: dict[str, type] = {
    **dict.fromkeys(_REQUIRED, str),
    **{"choices": list, "answer": int, "check": dict, "follow_ups": list},
    **{"harmful": bool, "reference": str},
}


def item_from_json(line: str) -> Item:
    """Read an item from a line of JSON; the inverse of `item_to_json`.

    Raises:
        InputError: the line does not hold an item; the message says why.
    """
    try:
        record = loads(line)
    except InputError as error:
        raise InputError(f"An item is a line of JSON: {error}") from error
    if not isinstance(record, dict):
        raise InputError(f"An item is a JSON object; this is {line[:60]!r}.")
    for key, value in record.items():
        if key not in _TYPES:
            raise InputError(f"An item has no field '{key[:40]}'; it has {', '.join(_TYPES)}.")
        if not isinstance(value, _TYPES[key]) or (key == "answer" and isinstance(value, bool)):
            raise InputError(f"The field '{key}' of an item cannot be {str(value)[:40]!r}.")
    missing = set(_REQUIRED) - set(record)
    if missing:
        raise InputError(f"An item needs the fields {', '.join(sorted(missing))} too.")
    for key in ("choices", "follow_ups"):
        if key in record and not all(isinstance(text, str) for text in record[key]):
            raise InputError(f"The field '{key}' of an item is a list of texts.")
        record[key] = tuple(record.get(key, ()))
    check = record.pop("check", None)
    return Item(**record, check=check_from_record(check) if check is not None else None)
