"""What a person chooses before a training run, and the presets to choose from.

A `TrainSpec` is plain data: it is stored with the run, shown on the page, and turned into the
stages' own settings by the pipeline. `full` holds the paper's numbers (arXiv 2603.18507, section
5.1); `quick` fits the embedded model into ten minutes on two cores; `demo` is a case with a known
answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field

from prism_core.errors import InputError
from prism_core.models.sources import is_remote
from prism_core.tasks.item import MT_BENCH_CATEGORIES
from prism_core.types import Length, Placement
from prism_core.utils.validation import Seed, check

PresetName = Literal["demo", "quick", "full", "custom"]
JudgeName = Literal["self", "verifiable", "remote"]
PRESET_NAMES: tuple[PresetName, ...] = get_args(PresetName)
JUDGE_NAMES: tuple[JudgeName, ...] = get_args(JudgeName)

PAPER_PERSONAS = (*MT_BENCH_CATEGORIES, "critic", "safety_monitor", "helpful", "compliant")


@dataclass(frozen=True)
class TrainSpec:
    """One training run's choices."""

    preset: PresetName = "quick"
    """Which preset the choices began with."""
    name: str = "My adapter"
    model: str = "embedded"
    """The base model's reference."""
    personas: tuple[str, ...] = PAPER_PERSONAS
    """Names of the personas to bootstrap from."""
    own_personas: tuple[str, ...] = ()
    """A visitor's own personas as YAML, in addition to the library's."""
    length: Length = "long"
    """Which of the personas' texts is used."""
    placement: Placement = "system"
    """The turn that carries the persona's text."""
    queries_per_persona: Annotated[int, Field(ge=1, le=500)] = 4
    """Queries to be written for each persona (stage 1)."""
    answer_tokens: Annotated[int, Field(ge=8, le=2048)] = 96
    """The most tokens an answer may have (stage 2)."""
    judge: JudgeName = "self"
    """Who compares the answers (stage 3)."""
    remote_model: str = ""
    """The remote judge, `NAME:MODEL`; a name alone is one at `PRISM_REMOTE_URL`. Empty unless the
    judge is remote."""
    feature: Literal["auto", "last", "mean", "both"] = "auto"
    """What the gate reads (stage 4); `auto` chooses by cross-validation."""
    threshold: Literal["paper", "out_of_fold"] = "paper"
    """From where on the gate opens: the paper's 0.5, or chosen by cross-validation."""
    held_out_share: Annotated[float, Field(ge=0.1, le=0.5)] = 0.25
    """Share of the query groups kept for evaluation."""
    rank: Annotated[int, Field(ge=1, le=128)] = 16
    """LoRA rank (stage 5)."""
    alpha: Annotated[int, Field(ge=1, le=512)] = 32
    """The LoRA's update is scaled by alpha / rank."""
    learning_rate: Annotated[float, Field(ge=1e-6, le=1e-2)] = 2e-4
    """Peak rate."""
    epochs: Annotated[int, Field(ge=1, le=50)] = 3
    """Passes over the distil set."""
    batch_size: Annotated[int, Field(ge=1, le=128)] = 8
    """Answers in one optimiser step."""
    max_tokens: Annotated[int, Field(ge=64, le=8192)] = 1024
    """Longer prompts and answers are cut."""
    temperature: Annotated[float, Field(ge=0.25, le=10)] = 2.0
    """Softens teacher and student in the KL."""
    top_k: Annotated[int, Field(ge=2, le=512)] = 64
    """Teacher logits kept for each token."""
    rounds: Annotated[int, Field(ge=1, le=5)] = 1
    """How often stages 2-5 are done; later rounds answer with the adapter on."""
    seed: Seed = 0
    """Seed of everything random."""


PRESETS: dict[PresetName, TrainSpec] = {
    "demo": TrainSpec(
        preset="demo",
        name="Demo adapter",
        personas=(),
        judge="verifiable",
        answer_tokens=56,
        rank=4,
        alpha=16,
        learning_rate=1e-3,
        epochs=4,
        temperature=1.0,
    ),
    "quick": TrainSpec(preset="quick", name="Quick adapter"),
    "full": TrainSpec(
        preset="full",
        name="PRISM adapter",
        queries_per_persona=50,
        answer_tokens=512,
        feature="last",
        epochs=10,
        batch_size=16,
    ),
    "custom": TrainSpec(preset="custom"),
}


def judge_reference(spec: TrainSpec) -> str:
    """Return the remote judge's reference; a name alone is at the endpoint of the environment."""
    name = spec.remote_model.strip()
    return name if is_remote(name) else f"remote:{name}"


def check_spec(spec: TrainSpec) -> TrainSpec:
    """Return the spec if it can be run.

    Raises:
        InputError: a choice is not allowed; the message quotes it and says what is.
    """
    spec = check(spec)
    if spec.preset == "demo":
        return spec
    if not spec.personas and not spec.own_personas:
        raise InputError("No persona is chosen; choose at least one.")
    if spec.judge == "verifiable":
        raise InputError(
            "The judge 'verifiable' needs a persona whose effect a program can check; that is the "
            "preset 'demo'. Choose 'self' or 'remote' for these personas."
        )
    if spec.judge == "remote" and not spec.remote_model.strip():
        raise InputError("The judge 'remote' needs the name of its model in remote_model.")
    return spec
