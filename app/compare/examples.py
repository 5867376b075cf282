"""The "surprise me" questions: read from `assets/examples.yaml`, picked at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from prism_core.errors import InputError
from prism_core.utils.assets import ASSETS

EXAMPLES = ASSETS / "examples.yaml"


@dataclass(frozen=True)
class Example:
    """A question worth asking."""

    label: str
    """Its category as shown to people."""
    question: str
    persona: str
    """The persona that suits it."""


def load_examples(path: Path = EXAMPLES) -> tuple[Example, ...]:
    """Read all examples, in the order of their categories.

    Raises:
        InputError: the file does not have the form that is written at its top.
    """
    try:
        return tuple(
            Example(g["label"], e["question"].strip(), e["persona"])
            for g in yaml.safe_load(path.read_text(encoding="utf-8"))
            for e in g["examples"]
        )
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path.name} does not have the form of examples: {error}") from error


def labels(examples: Sequence[Example]) -> list[str]:
    """Return the categories' labels, each once."""
    return list(dict.fromkeys(e.label for e in examples))


def pick(
    examples: Sequence[Example], rng: random.Random, label: str | None = None, not_again: str = ""
) -> Example:
    """Choose an example, of one category if asked, other than the question that stands there."""
    fitting = [e for e in examples if label in (None, e.label)]
    fresh = [e for e in fitting if e.question != not_again.strip()]
    return rng.choice(fresh or fitting or list(examples))
