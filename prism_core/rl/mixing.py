"""Which persona stands in which prompt: persona mixing (PerMix-RLVR).

The plan is drawn before training, from the seed alone: for each question of each step, one persona
or none for every rollout of its group. So a resumed run meets the same personas, and the arms
differ in nothing but this plan.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from prism_core.errors import InputError
from prism_core.personas.pool import PoolPersona
from prism_core.rl.spec import RlSpec

Mixed = tuple[str, ...]
"""Names of the personas of one group's rollouts, "" for none; all alike if mixed by prompt."""


def plan_personas(spec: RlSpec, pool: Sequence[PoolPersona]) -> tuple[Mixed, ...]:
    """Draw `spec.rollouts` names for each question, in the order they are trained on.

    Raises:
        InputError: the pool is empty or holds a persona that training must not see.
    """
    hidden = [p.name for p in pool if p.part != "train"]
    if hidden:
        raise InputError(f"'{hidden[0]}' is held out: it may not be mixed into training prompts.")
    names = [p.name for p in pool]
    if not names:
        raise InputError("The pool of training personas is empty.")
    share = spec.persona_share if spec.arm == "permix" else 0.0
    draw = random.Random(f"{spec.seed}/personas")
    plan = []
    for _ in range(spec.steps * spec.prompts):
        count = spec.rollouts if spec.mixing == "rollout" else 1
        drawn = tuple(draw.choice(names) if draw.random() < share else "" for _ in range(count))
        plan.append(drawn * (spec.rollouts // count))
    return tuple(plan)
