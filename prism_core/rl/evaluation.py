"""The reward on held-out questions: the same verifier, the same sampling, paired by question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prism_core.models.generator import Generator
from prism_core.progress import Progress
from prism_core.rl.tasks import ask
from prism_core.scorers.graders import grade
from prism_core.stats import ItemScores, item_scores, pair, paired_difference
from prism_core.storage.journal import seed_of
from prism_core.tasks import Item
from prism_core.types import Estimate, Message, Sampling

Rewards = dict[str, tuple[float, ...]]
"""Rewards of each item's answers, by the item's id."""


@dataclass(frozen=True)
class Asking:
    """How questions are put to a model."""

    examples: tuple[Message, ...]
    """Worked examples in front of each."""
    tokens: int
    """The most tokens of an answer."""
    temperature: float = 0.0
    """0 takes the most probable answer."""
    repeats: int = 1
    """Answers to each question."""
    persona: str = ""
    """A persona's text for the system turn."""
    seed: int = 0
    """Draws the answers."""


def rewards_of(
    model: Generator, items: Sequence[Item], asking: Asking, progress: Progress
) -> Rewards:
    """Ask every item and grade its answers.

    Raises:
        CancelledError: stopped on request.
    """
    asked = [item for item in items for _ in range(asking.repeats)]
    seeds = [seed_of("held", asking.seed, i.id, k) for i in items for k in range(asking.repeats)]
    answers = model.generate(
        [ask(item, asking.examples, asking.persona) for item in asked],
        Sampling(max_new_tokens=asking.tokens, temperature=asking.temperature),
        seeds,
        cancel=progress.cancel,
    )
    progress.check()
    found: dict[str, list[float]] = {}
    for item, answer in zip(asked, answers, strict=True):
        found.setdefault(item.id, []).append(float(bool(grade(item, answer.text).passed)))
    return {name: tuple(values) for name, values in found.items()}


def scores_of(rewards: Rewards) -> ItemScores:
    """Rewards as scores clustered by item."""
    pairs = [(name, value) for name, values in rewards.items() for value in values]
    return item_scores([p[0] for p in pairs], [p[1] for p in pairs])


def gain_of(trained: Rewards, base: Rewards, seed: int = 0) -> Estimate:
    """Mean reward of the trained model minus the base's, paired by item."""
    pairs = pair(scores_of(trained), scores_of(base))
    return paired_difference(pairs, bounds=(0.0, 1.0), seed=seed)
