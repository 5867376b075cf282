"""What a reinforcement-learning run reads and writes down: questions, steps, rollouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prism_core.rl.tasks import ask
from prism_core.tasks import Item
from prism_core.types import Message, Prompt

METRICS, ROLLOUTS = "rl_steps", "rl_rollouts"
"""Stages of the journal that a page can follow while the run goes on."""


@dataclass(frozen=True)
class Question:
    """One item of the training plan."""

    item: Item
    personas: tuple[str, ...]
    """The persona of each rollout, "" for none."""


@dataclass(frozen=True)
class RlInputs:
    """What a training run reads."""

    questions: Sequence[Question]
    """`spec.steps * spec.prompts` questions in the order they are trained on."""
    texts: Mapping[str, str]
    examples: tuple[Message, ...]

    def prompt(self, number: int, rollout: int) -> Prompt:
        """Return the prompt of one rollout of a question, its persona included."""
        question = self.questions[number]
        persona = question.personas[rollout]
        return ask(question.item, self.examples, self.texts[persona] if persona else "")


@dataclass(frozen=True)
class StepRecord:
    """What was measured at one optimiser step; None where it was not."""

    step: int
    reward: float | None = None
    loss: float | None = None
    kl: float | None = None
    """KL towards the base model, nats a token."""
    length: float | None = None
    """Mean tokens of an answer."""
    clipped: float | None = None
    """Share of answers that were cut off by the limit."""
    flat_groups: float | None = None
    """Share of groups whose rollouts all earned the same: nothing is learnt from them."""
    entropy: float | None = None
    """Mean entropy of the next token, in nats."""
    seconds: float | None = None


@dataclass(frozen=True)
class RolloutRecord:
    """One sampled answer with its verdict."""

    question: str
    persona: str
    """The persona's text in the prompt, "" for none."""
    text: str
    reward: float
    why: str
