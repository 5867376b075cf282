"""How a reinforcement-learning run ended, and where its parts stand in the journal."""

from __future__ import annotations

from dataclasses import dataclass

from prism_core.storage import unpack
from prism_core.storage.journal import Journal
from prism_core.types import Estimate

RL_STAGE, LEVEL_STAGE, HELD_STAGE, RESULT_STAGE, TIME_STAGE = (
    "rl",
    "rl_level",
    "rl_held_out",
    "rl_result",
    "time",
)


@dataclass(frozen=True)
class RlResult:
    """How a run ended."""

    family: str
    level: int
    level_name: str
    base: Estimate
    """Reward of the base model on held-out questions, sampled as in training."""
    trained: Estimate
    gain: Estimate
    """Trained minus base, paired by question."""
    greedy_base: Estimate
    """Share of the base model's most probable answers that are right."""
    greedy_trained: Estimate
    greedy_gain: Estimate
    seconds: float
    """Time at work, all resumptions together."""
    notes: tuple[str, ...] = ()
    """Warnings and nulls, as sentences."""


def load_rl_result(journal: Journal) -> RlResult | None:
    """Load how a run ended, or None while it has not."""
    part = journal.load(RESULT_STAGE).get(RESULT_STAGE)
    return None if part is None else unpack(RlResult, part)
