"""The questions of PersonaGym's five tasks: our own, and the public ones where they are there.

Public: a folder with one JSON file a persona, `{task: [questions]}`, the file's name being the
persona's description, below `PRISM_DATA_DIR/personagym/questions` (MIT licence; 200 personas with
ten questions a task). Ours are in `assets/persona_gym.yaml`, two a task, each persona with marks of
style that a program can look for.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from prism_core.errors import InputError, NotFoundError
from prism_core.storage import loads
from prism_core.utils.assets import ASSETS
from prism_core.utils.plain_yaml import plain_documents

GymTask = Literal[
    "Expected Action",
    "Toxicity",
    "Linguistic Habits",
    "Persona Consistency",
    "Action Justification",
]
GYM_TASKS: tuple[GymTask, ...] = get_args(GymTask)
OWN_FILE = ASSETS / "persona_gym.yaml"
_PUBLIC = Path("personagym") / "questions"
_MAX_FILE = 200_000


@dataclass(frozen=True)
class GymPersona:
    """A character with questions for the five tasks."""

    name: str
    text: str
    questions: Mapping[GymTask, tuple[str, ...]]
    markers: tuple[str, ...] = ()
    """Words of which the character would use at least one; none for the public personas."""


def own_personas(path: Path = OWN_FILE) -> tuple[GymPersona, ...]:
    """Return the personas that come with the product.

    Raises:
        InputError: an entry breaks the format.
    """
    found = []
    for data in plain_documents(path.read_text(encoding="utf-8")):
        if not isinstance(data, dict) or not isinstance(data.get("text"), str):
            raise InputError(f"{path.name}: an entry needs name, text, markers and questions.")
        markers = tuple(str(m) for m in data.get("markers", ()))
        name = str(data.get("name", ""))
        questions = _questions(data.get("questions"), name)
        found.append(GymPersona(name, " ".join(data["text"].split()), questions, markers))
    return tuple(found)


def public_personas(data_dir: Path, count: int, seed: int = 0) -> tuple[GymPersona, ...]:
    """Return a seeded choice of the public personas; a larger count contains the smaller.

    Raises:
        NotFoundError: the folder holds no questions.
        InputError: a file is damaged.
    """
    folder = data_dir / _PUBLIC
    paths = sorted(folder.rglob("*.json")) if folder.is_dir() else []
    if not paths:
        raise NotFoundError(
            f"There are no PersonaGym questions in '{folder}'. Put the folder 'questions' of "
            "https://github.com/vsamuel2003/PersonaGym there, or use the own questions."
        )
    random.Random(seed).shuffle(paths)
    return tuple(_public(path) for path in paths[:count])


def _public(path: Path) -> GymPersona:
    text = path.read_text(encoding="utf-8")
    try:
        data = loads(text[:_MAX_FILE])
    except InputError as error:
        raise InputError(f"'{path.name[:80]}': {error}") from error
    described = path.stem.strip().rstrip(".")
    return GymPersona(
        described[:120],
        f"You are {described[0].lower()}{described[1:]}.",
        _questions(data, path.name),
    )


def _questions(data: Any, where: str) -> dict[GymTask, tuple[str, ...]]:
    if not isinstance(data, dict):
        raise InputError(f"'{where[:80]}' has no questions by task.")
    found: dict[GymTask, tuple[str, ...]] = {}
    for task in GYM_TASKS:
        asked = data.get(task)
        if not isinstance(asked, list) or not all(isinstance(q, str) and q.strip() for q in asked):
            raise InputError(f"'{where[:80]}' lacks questions for the task '{task}'.")
        found[task] = tuple(q.strip() for q in asked)
    return found
