"""The systems that PRISM is compared with: who answers a query, behind which prompt and gate.

A `System` turns queries into `Asked` rows: the prompt, the gate's mode, and what was read before to
choose them. Everything else about the comparison is the same for all of them. A system that cannot
be built, since its adapter was not trained, is returned as `Absent` with the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from prism_core.lora.weights import LoraWeights
from prism_core.models.chat import encode_prompt
from prism_core.models.generator import Generator
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import VariantOf, build_prompt
from prism_core.prism.ablation.baselines import (
    PersonaChooser,
    choosing_prompt,
    oracle_gate,
    random_gate,
)
from prism_core.prism.gating.always_on import AlwaysOn
from prism_core.prism.gating.gate import Gate
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.prism.records import JudgedPair, Query
from prism_core.types import Completion, GateMode, Persona, Prompt, PromptVariant, Sampling

SystemName = Literal[
    "base",
    "persona_prompt",
    "chosen_persona",
    "sft",
    "kl_lora",
    "prism",
    "random_gate",
    "oracle_gate",
]
LABELS: dict[SystemName, str] = {
    "base": "Base",
    "persona_prompt": "Matched persona prompt",
    "chosen_persona": "Persona chosen by the model",
    "sft": "Ungated SFT LoRA",
    "kl_lora": "Ungated KL LoRA",
    "prism": "PRISM",
    "random_gate": "PRISM, random gate",
    "oracle_gate": "PRISM, oracle gate",
}
_NO_PRISM = "There is no adapter with a gate: the training found too little to distil."


@dataclass(frozen=True)
class Asked:
    """One query as a system asks it."""

    prompt: Prompt
    """What is answered."""
    gate: GateMode = "closed"
    """How the gate stands, where there is an adapter."""
    is_routed: bool | None = None
    """Whether persona or adapter answers; None where the gate decides."""
    tokens_before: int = 0
    """Tokens that were read to choose the prompt."""


Plan = Callable[[Sequence[Query], threading.Event | None], list[Asked]]


@dataclass(frozen=True)
class System:
    """One row of the comparison."""

    name: SystemName
    """Its short name."""
    plan: Plan
    """What it asks for the given queries."""
    gated: GatedModel | None = None
    """The gated model that answers; None for the base."""
    generator: Generator | None = None
    """It as a model for questions beyond the held-out ones, where it can be one."""
    note: str = ""
    """What a reader must know about it, as a sentence; often empty."""
    plan_alone: Plan | None = None
    """What it asks where its time is taken, if that differs: then its gate has to decide."""

    @property
    def label(self) -> str:
        """Its name as shown to people."""
        return LABELS[self.name]

    def answer(
        self,
        asked: Sequence[Asked],
        base: LocalModel,
        sampling: Sampling,
        seeds: Sequence[int],
        cancel: threading.Event | None = None,
    ) -> list[Completion]:
        """Answer rows as they were planned; only a gate that decided leaves its reading."""
        prompts = [a.prompt for a in asked]
        if self.gated is None:
            return base.generate(prompts, sampling, seeds, cancel=cancel)
        gates = [a.gate for a in asked]
        answers = self.gated.generate(prompts, sampling, seeds, cancel=cancel, gates=gates)
        return [
            c if a.gate == "auto" else replace(c, gate=None)
            for a, c in zip(asked, answers, strict=True)
        ]


@dataclass(frozen=True)
class Absent:
    """A system that is not in the table."""

    name: SystemName
    """Its short name."""
    why: str
    """Why not, as a sentence."""

    @property
    def label(self) -> str:
        """Its name as shown to people."""
        return LABELS[self.name]


@dataclass(frozen=True)
class Adapter:
    """An adapter that was trained without a gate."""

    lora: LoraWeights
    """Its matrices, placed on the base."""
    digest: str
    """Identity of the file that they were read from."""


@dataclass(frozen=True)
class Ingredients:
    """All that systems are made of."""

    base: LocalModel
    """The base model."""
    variant_of: VariantOf
    """The variant that a persona's answers were written with, by its name."""
    personas: tuple[Persona, ...] = ()
    """Among whom the model chooses."""
    prism: GatedModel | None = None
    """Base, gate and adapter."""
    sft: Adapter | None = None
    """A LoRA fine-tuned on the persona's answers."""
    kl: Adapter | None = None
    """A LoRA distilled without verification; by default PRISM's own is held open."""
    seed: int = 0
    """Seed of the random gate."""
    why_absent: dict[SystemName, str] = field(default_factory=dict)
    """Better reasons than the usual ones, where they are known."""


def build_systems(
    parts: Ingredients, held_out: Sequence[JudgedPair]
) -> tuple[list[System], list[Absent]]:
    """Every system that can be built, base first, and why the others cannot.

    Args:
        parts: base, personas and adapters.
        held_out: the queries of the comparison: random and oracle gate are made for them.
    """
    systems = [_base(), _persona_prompt(parts)]
    absent: list[Absent] = []

    def miss(name: SystemName, why: str) -> None:
        absent.append(Absent(name, parts.why_absent.get(name, why)))

    if parts.personas:
        systems.append(_chosen_persona(parts))
    else:
        miss("chosen_persona", "There is nothing to choose: it takes at least two personas.")
    if parts.sft is not None:
        systems.append(_always_on("sft", parts, parts.sft))
    else:
        miss("sft", "No LoRA was fine-tuned on the persona's answers in this run.")
    if parts.kl is not None:
        systems.append(_always_on("kl_lora", parts, parts.kl))
    elif parts.prism is not None:
        note = "PRISM's own adapter with its gate held open."
        systems.append(_held_open("kl_lora", parts.prism, note))
    else:
        miss("kl_lora", _NO_PRISM)
    if parts.prism is None:
        for name in ("prism", "random_gate", "oracle_gate"):
            miss(name, _NO_PRISM)
    else:
        systems += _gated(parts.prism, held_out, parts.seed)
    return systems, absent


def _base() -> System:
    return System("base", _neutral(is_routed=False))


def _neutral(gate: GateMode = "closed", is_routed: bool | None = None) -> Plan:
    """Every query as it stands, the gate alike for all."""

    def plan(queries: Sequence[Query], _cancel: threading.Event | None) -> list[Asked]:
        prompts = [build_prompt(q.text, PromptVariant()) for q in queries]
        return [Asked(p, gate, is_routed) for p in prompts]

    return plan


def _persona_prompt(parts: Ingredients) -> System:
    has_system_role = parts.base.has_system_role

    def plan(queries: Sequence[Query], _cancel: threading.Event | None) -> list[Asked]:
        return [
            Asked(
                build_prompt(q.text, parts.variant_of(q.persona), has_system_role), is_routed=True
            )
            for q in queries
        ]

    return System("persona_prompt", plan)


def _chosen_persona(parts: Ingredients) -> System:
    chooser = PersonaChooser(parts.personas, parts.base)
    base = parts.base

    def plan(queries: Sequence[Query], cancel: threading.Event | None) -> list[Asked]:
        texts = [q.text for q in queries]
        asked = []
        for text, choice in zip(texts, chooser.choose(texts, cancel=cancel), strict=True):
            named = choice.persona is not None
            variant = parts.variant_of(choice.persona) if choice.persona else PromptVariant()
            read = len(encode_prompt(base.tokenizer, choosing_prompt(text, parts.personas)))
            prompt = build_prompt(text, variant, base.has_system_role)
            asked.append(Asked(prompt, is_routed=named, tokens_before=read))
        return asked

    count = len(parts.personas)
    note = f"It chooses among {count} persona{'' if count == 1 else 's'} and nobody."
    return System("chosen_persona", plan, note=note)


def _always_on(name: SystemName, parts: Ingredients, adapter: Adapter) -> System:
    gate = Gate.always_open(parts.base.model)
    gated = GatedModel(
        parts.base, adapter.lora, gate, label=LABELS[name], adapter_hash=adapter.digest
    )
    return _held_open(name, gated)


def _held_open(name: SystemName, gated: GatedModel, note: str = "") -> System:
    plan = _neutral("open", is_routed=True)
    return System(name, plan, gated, AlwaysOn.held_open(gated), note)


def _gated(prism: GatedModel, held_out: Sequence[JudgedPair], seed: int) -> list[System]:
    """PRISM, and the same adapter behind a random and a perfect gate.

    PRISM's gate decides beforehand, by the same layer 0 as in its one pass: so a query that it
    leaves to the base is the very row of the base's batch, and no rounding of another batch's shape
    comes between them.
    """
    queries = [pair.pair.query for pair in held_out]
    prompts = [build_prompt(q.text, PromptVariant()) for q in queries]
    probabilities = prism.probabilities(prompts) if prompts else []
    opened = [p >= prism.threshold for p in probabilities]
    shuffled = _decided(queries, random_gate(opened, seed))
    perfect = _decided(queries, oracle_gate(held_out))
    many = f"Open for {sum(opened)} of {len(opened)} queries, as PRISM's gate is."
    return [
        System("prism", _decided(queries, opened), prism, prism, plan_alone=_neutral("auto")),
        System("random_gate", shuffled, prism, note=many),
        System("oracle_gate", perfect, prism, note="Open exactly where the persona won."),
    ]


def _decided(queries: Sequence[Query], opened: Sequence[bool]) -> Plan:
    """A gate whose decisions are known beforehand."""
    decisions = {q.id: is_open for q, is_open in zip(queries, opened, strict=True)}

    def plan(wanted: Sequence[Query], _cancel: threading.Event | None) -> list[Asked]:
        asked = []
        for query in wanted:
            is_open = decisions[query.id]
            prompt = build_prompt(query.text, PromptVariant())
            asked.append(Asked(prompt, "open" if is_open else "closed", is_open))
        return asked

    return plan
