"""What a reinforcement-learning run writes down, as frozen values: questions, steps, rollouts."""

from __future__ import annotations

from dataclasses import dataclass

from prism_core.tasks import Item

METRICS, ROLLOUTS = "rl_steps", "rl_rollouts"
"""Stages of the journal that a page can follow while the run goes on."""


@dataclass(frozen=True)
class Question:
    """One item of the training plan."""

    item: Item
    """What is asked, and how an answer is verified."""
    personas: tuple[str, ...]
    """The persona of each rollout, "" for none."""


@dataclass(frozen=True)
class StepRecord:
    """What was measured at one optimiser step; None where it was not."""

    step: int
    """Counted from 1."""
    reward: float | None = None
    """Mean reward of the step's rollouts, 0 to 1."""
    loss: float | None = None
    """The trainer's loss."""
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
    """How long the step took."""


@dataclass(frozen=True)
class RolloutRecord:
    """One sampled answer with its verdict."""

    question: str
    """What was asked."""
    persona: str
    """The persona's text in the prompt, "" for none."""
    text: str
    """What the model wrote."""
    reward: float
    """What it earned."""
    why: str
    """The verifier's reason."""
