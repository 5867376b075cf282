"""What a person chooses before a training run, and the presets to choose from.

A `TrainSpec` is plain data: it is stored with the run, shown on the page, and turned into the
stages' own settings by the pipeline. `full` holds the paper's numbers (arXiv 2603.18507, section
5.1); `quick` fits the embedded model into ten minutes on two cores; `demo` is a case with a known
answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from prism_core.errors import InputError
from prism_core.types import LENGTHS, PLACEMENTS, Length, Placement

PresetName = Literal["demo", "quick", "full", "custom"]
JudgeName = Literal["self", "verifiable", "remote"]
FeatureName = Literal["auto", "last", "mean", "both"]
PRESET_NAMES: tuple[PresetName, ...] = get_args(PresetName)
JUDGE_NAMES: tuple[JudgeName, ...] = get_args(JudgeName)
FEATURE_NAMES: tuple[FeatureName, ...] = get_args(FeatureName)
STORE_FILE = "run.sqlite3"
"""The store of a run that the command line started, inside the run's folder."""

PAPER_PERSONAS = (
    "writing",
    "roleplay",
    "reasoning",
    "math",
    "coding",
    "extraction",
    "stem",
    "humanities",
    "critic",
    "safety_monitor",
    "helpful",
    "compliant",
)


@dataclass(frozen=True)
class TrainSpec:
    """One training run's choices."""

    preset: PresetName = "quick"
    """Which preset the choices began with."""
    name: str = "My adapter"
    """The adapter's name."""
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
    queries_per_persona: int = 4
    """Queries to be written for each persona (stage 1)."""
    answer_tokens: int = 96
    """The most tokens an answer may have (stage 2)."""
    judge: JudgeName = "self"
    """Who compares the answers (stage 3)."""
    remote_model: str = ""
    """The remote judge's model name; empty unless the judge is remote."""
    feature: FeatureName = "auto"
    """What the gate reads (stage 4); `auto` chooses by cross-validation."""
    held_out_share: float = 0.25
    """Share of the query groups kept for evaluation."""
    rank: int = 16
    """LoRA rank (stage 5)."""
    alpha: int = 32
    """LoRA alpha."""
    learning_rate: float = 2e-4
    """Peak learning rate."""
    epochs: int = 3
    """Passes over the distil set."""
    batch_size: int = 8
    """Answers in one optimiser step."""
    max_tokens: int = 1024
    """Longer prompts and answers are cut."""
    temperature: float = 2.0
    """Softens teacher and student in the KL."""
    top_k: int = 64
    """Teacher logits kept for each token."""
    rounds: int = 1
    """How often stages 2-5 are done; later rounds answer with the adapter on."""
    seed: int = 0
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

_LIMITS: tuple[tuple[str, float, float], ...] = (
    ("queries_per_persona", 1, 500),
    ("answer_tokens", 8, 2048),
    ("held_out_share", 0.1, 0.5),
    ("rank", 1, 128),
    ("alpha", 1, 512),
    ("learning_rate", 1e-6, 1e-2),
    ("epochs", 1, 50),
    ("batch_size", 1, 128),
    ("max_tokens", 64, 8192),
    ("temperature", 0.25, 10.0),
    ("top_k", 2, 512),
    ("rounds", 1, 5),
    ("seed", 0, 2**31 - 1),
)


def check_spec(spec: TrainSpec) -> TrainSpec:
    """Refuse choices that cannot be run.

    Raises:
        InputError: a choice is not allowed; the message quotes it and says what is.
    """
    for field, low, high in _LIMITS:
        value = getattr(spec, field)
        if not low <= value <= high:
            raise InputError(f"{field} is {value}; it must lie between {low:g} and {high:g}.")
    words: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("preset", spec.preset, PRESET_NAMES),
        ("judge", spec.judge, JUDGE_NAMES),
        ("feature", spec.feature, FEATURE_NAMES),
        ("length", spec.length, LENGTHS),
        ("placement", spec.placement, PLACEMENTS),
    )
    for field, word, allowed in words:
        if word not in allowed:
            raise InputError(f"{field} is '{word[:60]}'; it must be one of {', '.join(allowed)}.")
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
