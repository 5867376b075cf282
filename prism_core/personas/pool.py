"""The pool of personas that robustness is trained on and measured with.

One YAML file holds them all, each with its attitude (helpful, irrelevant or harmful to a task that
has a right answer) and its part: `train` personas may be mixed into training prompts, `held_out`
ones are for measuring alone, so that robustness to personas never seen can be told from having
learnt the ones that were. The parts are fixed in the file, with every attitude in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from prism_core.errors import InputError
from prism_core.utils.assets import ASSETS
from prism_core.utils.plain_yaml import plain_documents
from prism_core.utils.validation import build

Attitude = Literal["helpful", "irrelevant", "harmful"]
Part = Literal["train", "held_out"]
ATTITUDES: tuple[Attitude, ...] = get_args(Attitude)
PARTS: tuple[Part, ...] = get_args(Part)
POOL_FILE = ASSETS / "persona_pool" / "pool.yaml"


@dataclass(frozen=True)
class PoolPersona:
    """One persona of the pool."""

    name: str
    title: str
    attitude: Attitude
    part: Part
    text: str


def load_pool(path: Path = POOL_FILE) -> tuple[PoolPersona, ...]:
    """Read the pool, in the file's order.

    Raises:
        InputError: an entry breaks the format, or a part lacks an attitude.
    """
    found = [_entry(data) for data in plain_documents(path.read_text(encoding="utf-8"))]
    names = [p.name for p in found]
    if len(set(names)) != len(names):
        raise InputError(f"{path.name} holds two personas of one name.")
    for part in PARTS:
        lacking = set(ATTITUDES) - {p.attitude for p in found if p.part == part}
        if lacking:
            raise InputError(f"{path.name} has no {sorted(lacking)} persona in part '{part}'.")
    return tuple(found)


def part_of(pool: Sequence[PoolPersona], part: Part) -> tuple[PoolPersona, ...]:
    """Return the personas of one part."""
    return tuple(p for p in pool if p.part == part)


def _entry(data: object) -> PoolPersona:
    found = build(PoolPersona, data)
    texts: dict[str, Any] = {
        key: " ".join(getattr(found, key).split()) for key in ("name", "title", "text")
    }
    if not all(texts.values()):
        raise InputError(f"A field of the pool persona {found.name!r} is empty.")
    return replace(found, **texts)
