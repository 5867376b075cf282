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
    tokens: int
    temperature: float = 0.0
    repeats: int = 1
    persona: str = ""
    seed: int = 0
    purpose: str = "held"
    """Enters the seed, so that a probe and an evaluation draw different answers."""


def rewards_of(
    model: Generator, items: Sequence[Item], asking: Asking, progress: Progress
) -> Rewards:
    """Ask every item and grade the answers.

    Raises:
        CancelledError: stopped on request.
    """
    asked = [(item, k) for item in items for k in range(asking.repeats)]
    answers = model.generate(
        [ask(item, asking.examples, asking.persona) for item, _ in asked],
        Sampling(max_new_tokens=asking.tokens, temperature=asking.temperature),
        [seed_of(asking.purpose, asking.seed, item.id, k) for item, k in asked],
        cancel=progress.cancel,
    )
    progress.check()
    found: Rewards = {}
    for (item, _), answer in zip(asked, answers, strict=True):
        reward = float(bool(grade(item, answer.text).passed))
        found[item.id] = (*found.get(item.id, ()), reward)
    return found


def scores_of(rewards: Rewards) -> ItemScores:
    """Turn rewards into scores clustered by item."""
    pairs = [(name, value) for name, values in rewards.items() for value in values]
    return item_scores([p[0] for p in pairs], [p[1] for p in pairs])


def gain_of(trained: Rewards, base: Rewards) -> Estimate:
    """Estimate the trained model's mean reward minus the base's, paired by item."""
    pairs = pair(scores_of(trained), scores_of(base))
    return paired_difference(pairs, bounds=(0.0, 1.0))
