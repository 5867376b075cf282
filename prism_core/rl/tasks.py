"""Families of verifiable tasks for reinforcement learning: endless, split for good, with levels.

A family turns a seed into `Item`s that `scorers.graders.grade` can check, so that one grader serves
reward and evaluation. Generated families come from reasoning-gym; GSM8K and MATH500
are read by `prism_core.tasks` where their data is there.
1. A question belongs to the training or the held-out part by a hash of its text, never by seed:
   reasoning-gym draws item i of seed s from s + i, so neighbouring seeds share almost all items.
2. Two worked examples come before each question as turns of the conversation. A model of
   135M parameters cannot follow a format that is only described, and without a reward now and then
   there is nothing to learn from.
3. Levels go from easy to hard; `prism_core.rl.probe` finds the one that is solved now and then.
Choices that PerMix-RLVR (arXiv 2604.08986) leaves open: the families, the levels, the examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prism_core.checks import Check
from prism_core.errors import InputError, NotFoundError
from prism_core.tasks import Item, get_task
from prism_core.types import Message, Prompt

Split = Literal["train", "held_out", "example"]
_SHARES: tuple[tuple[Split, int], ...] = (("example", 10), ("held_out", 40), ("train", 100))
"""Each part ends at this percentile of the questions' hashes."""
_PATIENCE = 2_000
"""Drawing stops after so many questions in a row that are not new: a small family is exhausted."""


@dataclass(frozen=True)
class Level:
    """One difficulty of a family."""

    name: str
    options: Mapping[str, Any]
    """Settings of the generator; empty for a benchmark."""


@dataclass(frozen=True)
class Family:
    """Tasks of one kind."""

    name: str
    title: str
    source: str
    """A dataset of reasoning-gym, or a task of `prism_core.tasks`."""
    levels: tuple[Level, ...]
    """From easy to hard; one for a benchmark."""
    tokens: int
    examples: int
    generated: bool


def _generated(
    name: str,
    title: str,
    source: str,
    options: tuple[str, str],
    levels: Mapping[str, tuple[int, int]],
    examples: int = 2,
) -> Family:
    """Build a family whose levels differ in two options of the generator."""
    found = tuple(
        Level(level, dict(zip(options, values, strict=True))) for level, values in levels.items()
    )
    return Family(name, title, source, found, tokens=10, examples=examples, generated=True)


def _benchmark(name: str, title: str, tokens: int) -> Family:
    return Family(name, title, name, (Level("all", {}),), tokens, examples=0, generated=False)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _generated(
            "letters",
            "Counting letters",
            "letter_counting",
            ("min_words", "max_words"),
            {"one word": (1, 1), "one to three words": (1, 3), "three to six words": (3, 6)},
        ),
        _generated(
            "sums",
            "Adding and subtracting",
            "chain_sum",
            ("max_terms", "max_digits"),
            {
                "two numbers of one digit": (2, 1),
                "two numbers of up to two digits": (2, 2),
                "three numbers of up to two digits": (3, 2),
            },
        ),
        _generated(
            "products",
            "Multiplying",
            "products",
            ("max_terms", "max_digits"),
            {"two numbers of one digit": (2, 1), "up to two digits": (2, 2)},
        ),
        _generated(
            "needle",
            "Finding who",
            "needle_haystack",
            ("min_num_statements", "max_num_statements"),
            {"two statements": (2, 2), "four statements": (4, 4), "eight statements": (8, 8)},
            examples=1,
        ),
        _benchmark("gsm8k", "GSM8K", tokens=320),
        _benchmark("math500", "MATH500", tokens=1024),
    )
}
"""Every family by name."""


def get_family(name: str) -> Family:
    """Return a family by name.

    Raises:
        NotFoundError: no family has that name; the message lists the names.
    """
    if name not in FAMILIES:
        raise NotFoundError(
            f"There is no task family '{name[:60]}'; there are {', '.join(FAMILIES)}."
        )
    return FAMILIES[name]


def draw_items(family: Family, level: int, split: Split, count: int, seed: int) -> tuple[Item, ...]:
    """Draw different items of one part, by the seed; a larger count holds the smaller one's items.

    Fewer come back where the family has no more.

    Raises:
        InputError: the family has no such level, or reasoning-gym is not installed.
        NotFoundError: a benchmark's data is not here.
    """
    if not 0 <= level < len(family.levels):
        raise InputError(
            f"'{family.name}' has no level {level}; it has 0 to {len(family.levels) - 1}."
        )
    found: dict[str, Item] = {}
    misses = 0
    for item in _stream(family, level, seed):
        if split_of(item.question) != split or item.question in found:
            misses += 1
            if misses > _PATIENCE:
                break
            continue
        found[item.question], misses = item, 0
        if len(found) == count:
            break
    return tuple(found.values())


def split_of(question: str) -> Split:
    """Return the part that a question belongs to, for ever."""
    place = int(hashlib.sha256(question.encode()).hexdigest()[:8], 16) % 100
    return next(name for name, end in _SHARES if place < end)


def examples_of(family: Family, level: int) -> tuple[Message, ...]:
    """Return worked examples as turns: the same ones for everybody, and never asked."""
    turns: list[Message] = []
    seen: set[str] = set()
    for item in draw_items(family, level, "example", 24, 1) if family.examples else ():
        # Two examples of one answer would teach that answer.
        if item.reference not in seen and len(seen) < family.examples:
            seen.add(item.reference)
            turns += [Message("user", item.question), Message("assistant", item.reference)]
    return tuple(turns)


def ask(item: Item, examples: tuple[Message, ...], persona: str = "") -> Prompt:
    """Build the prompt that asks an item, with a persona's text as the system turn."""
    system = (Message("system", persona),) if persona else ()
    return (*system, *examples, Message("user", item.question))


def _stream(family: Family, level: int, seed: int) -> Iterator[Item]:
    if not family.generated:
        items = get_task(family.source).load()
        yield from sorted(items, key=lambda item: _rank(item.id, seed))
        return
    entries = _entries(family.source, family.levels[level].options, seed)
    for number, entry in enumerate(entries):
        question, check = _READERS[family.source](entry)
        yield Item(
            id=f"{family.name}-{level}-{seed}-{number}",
            task=family.name,
            category=family.levels[level].name,
            kind="open",
            question=question,
            check=check,
            reference=str(entry["answer"]),
        )


def _rank(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()


def _entries(dataset: str, options: Mapping[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    try:
        from reasoning_gym import create_dataset
    except ImportError as error:
        raise InputError(
            "Generated tasks need the package reasoning-gym: pip install reasoning-gym"
        ) from error
    if dataset in ("chain_sum", "products"):
        options = {"min_terms": 2, "min_digits": 1, **options}
    # Far apart, since item i of seed s is drawn from s + i.
    start = int(_rank(dataset, seed)[:12], 16)
    yield from create_dataset(dataset, seed=start, size=200_000, **options)


def _expression(entry: dict[str, Any]) -> tuple[str, Check]:
    return f"{entry['metadata']['expression']} =", Check("number", {"answer": entry["answer"]})


def _letters(entry: dict[str, Any]) -> tuple[str, Check]:
    facts = entry["metadata"]
    question = f'How many times is "{facts["target_letter"]}" in "{" ".join(facts["span"])}"?'
    return question, Check("number", {"answer": entry["answer"]})


def _needle(entry: dict[str, Any]) -> tuple[str, Check]:
    statements, _, rest = entry["question"].partition("\n")
    names = sorted({s.split()[0] for s in statements.split(". ") if s})
    asked = rest.strip().split("?")[0] + "?"
    check = Check("label", {"allowed": names, "answer": entry["answer"]})
    return f"{statements.strip()} {asked}", check


_READERS: dict[str, Callable[[dict[str, Any]], tuple[str, Check]]] = {
    "chain_sum": _expression,
    "products": _expression,
    "letter_counting": _letters,
    "needle_haystack": _needle,
}
"""How a dataset's entry becomes a short question and its check."""
