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
from typing import Annotated, Literal

from pydantic import Field

from prism_core.errors import InputError
from prism_core.rl.tasks import get_family
from prism_core.utils.validation import Seed, check, check_name

RlPreset = Literal["quick", "full"]
AUTO_LEVEL = -1
"""Let a probe of the base model choose the level."""
MAX_NAME = 80


@dataclass(frozen=True)
class RlSpec:
    """One run of reinforcement learning."""

    name: str = "Robust"
    model: str = "embedded"
    """The base model; see `prism_core.models.sources.resolve`."""
    preset: RlPreset = "quick"
    """Where the numbers come from."""
    arm: Literal["rlvr", "permix", "sft"] = "permix"
    """What is trained, see above."""
    family: str = "needle"
    """The tasks; see `prism_core.rl.tasks.FAMILIES`."""
    level: Annotated[int, Field(ge=AUTO_LEVEL, le=20)] = AUTO_LEVEL
    """Difficulty within the family; -1 lets a probe choose."""
    persona_share: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Probability p that a prompt carries a persona; used by `permix` alone."""
    mixing: Literal["prompt", "rollout"] = "prompt"
    """Whether a persona is drawn for each prompt, or for each rollout of its group."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 40
    prompts: Annotated[int, Field(ge=1, le=512)] = 4
    """Different questions a step."""
    rollouts: Annotated[int, Field(ge=2, le=64)] = 8
    """Answers sampled to each question: the group that rewards are compared in."""
    answer_tokens: Annotated[int, Field(ge=0, le=4096)] = 0
    """The most tokens of an answer; 0 takes the family's own number."""
    temperature: Annotated[float, Field(ge=0.1, le=2)] = 0.7
    """Of the rollouts, in training and on held-out items."""
    learning_rate: Annotated[float, Field(ge=1e-7, le=1e-2)] = 2e-4
    """Peak rate, with a linear fall to 0."""
    kl_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight of the KL penalty towards the base model; 0 measures the KL only now and then."""
    rank: Annotated[int, Field(ge=1, le=128)] = 16
    """LoRA rank; alpha is twice as large."""
    first_layer: Annotated[int, Field(ge=1, le=200)] = 10
    """The LoRA sits on this layer and all above it; below it no gradient is needed."""
    held_out: Annotated[int, Field(ge=8, le=2000)] = 64
    """Held-out questions that base and adapter are compared on."""
    repeats: Annotated[int, Field(ge=1, le=16)] = 2
    """Sampled answers to each held-out question."""
    save_every: Annotated[int, Field(ge=1, le=10_000)] = 5
    """Steps between checkpoints."""
    use_vllm: bool = False
    """Sample with vLLM in this process, on a GPU where it is installed."""
    micro_batch: Annotated[int, Field(ge=0, le=4096)] = 0
    """Rollouts read together in an update; 0 reads the whole batch at once."""
    seed: Seed = 0
    """Draws questions, personas, rollouts and the LoRA's first weights."""

    @property
    def tokens(self) -> int:
        """Return the most tokens of an answer."""
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


def check_rl_spec(spec: RlSpec) -> RlSpec:
    """Return the spec, its name tidied, if every value is allowed.

    Raises:
        InputError: one is not; the message quotes it and says what is.
        NotFoundError: there is no such family.
    """
    family = get_family(spec.family)
    spec = replace(check(spec), name=check_name(spec.name, MAX_NAME))
    if spec.level != AUTO_LEVEL and spec.level >= len(family.levels):
        raise InputError(
            f"level is {spec.level}; '{family.name}' has the levels 0 to "
            f"{len(family.levels) - 1}, or -1 to let a probe choose."
        )
    batch = spec.prompts * spec.rollouts
    if spec.micro_batch and batch % spec.micro_batch:
        raise InputError(
            f"micro_batch is {spec.micro_batch}; it must divide prompts x rollouts = {batch}."
        )
    return spec
