"""Categories: how they are called, their order, and which expert persona belongs to each."""

from __future__ import annotations

from collections.abc import Iterable

from prism_core.tasks.embedded import MMLU_DOMAINS, MT_BENCH_CATEGORIES, SAFETY

OWN_EXPERT = {
    **{category: category for category in MT_BENCH_CATEGORIES},
    "social_sciences": "humanities",
    "harmful": "safety_monitor",
    "harmless": "safety_monitor",
}
"""The persona whose own domain a category is; `other` belongs to none."""
_ORDER = tuple(dict.fromkeys((*MMLU_DOMAINS, *MT_BENCH_CATEGORIES, *SAFETY)))
_TITLES = {"stem": "STEM", "math": "Math", "social_sciences": "Social sciences"}
LENGTH_TITLES = {"min": "minimum", "short": "short", "long": "long"}
PLACEMENT_TITLES = {"system": "system turn", "user": "user turn"}


def title_of(name: str) -> str:
    """Return a category's or persona's name as shown to people."""
    return _TITLES.get(name, name.replace("_", " ").capitalize())


def in_order(categories: Iterable[str]) -> list[str]:
    """Return categories in the order of the paper, unknown ones last and alphabetically."""
    known = {name: place for place, name in enumerate(_ORDER)}
    return sorted(set(categories), key=lambda name: (known.get(name, len(known)), name))
