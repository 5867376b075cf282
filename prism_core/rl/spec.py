"""What one reinforcement-learning run is: arm, task, pool, mixing and budget, as a frozen value.

Arms, with the same questions, seeds and number of steps:
`rlvr`    GRPO on bare questions; the reward is the verifier's.
`permix`  the same, with a persona of the training pool in the prompt with probability p.
`sft`     supervised steps on the same questions' gold answers (not rejection-sampled ones).
The base model is the fourth arm: it is measured, not trained.

Choices that PerMix-RLVR (arXiv 2604.08986) does not publish, made here: p = 0.7; a persona is drawn
for each prompt (all rollouts of a group share it), or for each rollout; its short text stands in
the system turn; GRPO with group-scaled advantages, no KL penalty, one update a batch; plain rewards
of 0 and 1, without a bonus for format.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from prism_core.errors import InputError
from prism_core.rl.tasks import get_family

Arm = Literal["rlvr", "permix", "sft"]
Mixing = Literal["prompt", "rollout"]
RlPreset = Literal["quick", "full"]
ARMS: tuple[Arm, ...] = get_args(Arm)
MIXINGS: tuple[Mixing, ...] = get_args(Mixing)
RL_PRESET_NAMES: tuple[RlPreset, ...] = get_args(RlPreset)
AUTO_LEVEL = -1
"""Let a probe of the base model choose the level."""
MAX_NAME = 80


@dataclass(frozen=True)
class RlSpec:
    """One run of reinforcement learning."""

    name: str = "Robust"
    """The adapter's name as shown to people."""
    model: str = "embedded"
    """The base model; see `prism_core.models.sources.resolve`."""
    preset: RlPreset = "quick"
    """Where the numbers come from."""
    arm: Arm = "permix"
    """What is trained."""
    family: str = "needle"
    """The tasks; see `prism_core.rl.tasks.FAMILIES`."""
    level: int = AUTO_LEVEL
    """Difficulty within the family; -1 lets a probe choose."""
    persona_share: float = 0.7
    """Probability p that a prompt carries a persona; used by `permix` alone."""
    mixing: Mixing = "prompt"
    """Whether a persona is drawn for each prompt, or for each rollout of its group."""
    steps: int = 40
    """Optimiser steps."""
    prompts: int = 4
    """Different questions a step."""
    rollouts: int = 8
    """Answers sampled to each question: the group that rewards are compared in."""
    answer_tokens: int = 0
    """The most tokens of an answer; 0 takes the family's own number."""
    temperature: float = 0.7
    """Of the rollouts, in training and on held-out items."""
    learning_rate: float = 2e-4
    """Peak rate, with a linear fall to 0."""
    kl_weight: float = 0.0
    """Weight of the KL penalty towards the base model; 0 measures the KL only now and then."""
    rank: int = 16
    """LoRA rank; alpha is twice as large."""
    first_layer: int = 10
    """The LoRA sits on this layer and all above it; below it no gradient is needed."""
    held_out: int = 64
    """Held-out questions that base and adapter are compared on."""
    repeats: int = 2
    """Sampled answers to each held-out question."""
    save_every: int = 5
    """Steps between checkpoints."""
    use_vllm: bool = False
    """Sample with vLLM in this process, on a GPU where it is installed."""
    micro_batch: int = 0
    """Rollouts read together in an update; 0 reads the whole batch at once."""
    seed: int = 0
    """Draws questions, personas, rollouts and the LoRA's first weights."""

    @property
    def tokens(self) -> int:
        """The most tokens of an answer."""
        return self.answer_tokens or get_family(self.family).tokens


RL_PRESETS: dict[RlPreset, RlSpec] = {
    "quick": RlSpec(),
    "full": RlSpec(
        preset="full",
        family="gsm8k",
        steps=500,
        prompts=16,
        temperature=1.0,
        learning_rate=1e-5,
        first_layer=1,
        held_out=300,
        save_every=25,
        use_vllm=True,
        micro_batch=16,
    ),
}
"""Settings for the embedded model on two cores, and for a model of some billions on a GPU."""

_LIMITS: dict[str, tuple[float, float]] = {
    "persona_share": (0.0, 1.0),
    "steps": (1, 100_000),
    "prompts": (1, 512),
    "rollouts": (2, 64),
    "answer_tokens": (0, 4096),
    "temperature": (0.1, 2.0),
    "learning_rate": (1e-7, 1e-2),
    "kl_weight": (0.0, 1.0),
    "rank": (1, 128),
    "first_layer": (1, 200),
    "held_out": (8, 2000),
    "repeats": (1, 16),
    "save_every": (1, 10_000),
    "micro_batch": (0, 4096),
    "seed": (0, 2**31 - 1),
}


def check_rl_spec(spec: RlSpec) -> RlSpec:
    """Return the spec, tidied, if every value is allowed.

    Raises:
        InputError: one is not; the message quotes it and says what is.
        NotFoundError: there is no such family.
    """
    family = get_family(spec.family)
    name = " ".join(spec.name.split())
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InputError(
            f"The name '{spec.name[:90]}' is not allowed: use 1 to {MAX_NAME} characters."
        )
    for field, allowed in (("arm", ARMS), ("mixing", MIXINGS), ("preset", RL_PRESET_NAMES)):
        if getattr(spec, field) not in allowed:
            raise InputError(
                f"{field} is '{getattr(spec, field)}'; choose one of {', '.join(allowed)}."
            )
    for field, (low, high) in _LIMITS.items():
        value = getattr(spec, field)
        if not low <= value <= high:  # False for NaN too
            raise InputError(f"{field} is {value}; it must lie between {low:g} and {high:g}.")
    if spec.level != AUTO_LEVEL and not 0 <= spec.level < len(family.levels):
        raise InputError(
            f"level is {spec.level}; '{family.name}' has the levels 0 to "
            f"{len(family.levels) - 1}, or -1 to let a probe choose."
        )
    batch = spec.prompts * spec.rollouts
    if spec.micro_batch and batch % spec.micro_batch:
        raise InputError(
            f"micro_batch is {spec.micro_batch}; it must divide prompts x rollouts = {batch}."
        )
    return replace(spec, name=name)
