"""The systems that PRISM is compared with: who answers a query, behind which prompt and gate.

A `System` turns queries into `RoutedPrompt`s: the prompt, the gate's mode, and what was read before
to choose them. Everything else about the comparison is the same for all of them. A system that
cannot be built, since its adapter was not trained, is returned as a `MissingRow` with the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import VariantOf, build_prompt
from prism_core.prism.ablation.baselines import PersonaChooser, choosing_prompt, random_gate
from prism_core.prism.ablation.table import MissingRow
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
class RoutedPrompt:
    """One query as a system asks it."""

    prompt: Prompt
    gate: GateMode = "closed"
    is_routed: bool | None = None
    """Whether persona or adapter answers; None where the gate decides."""
    tokens_before: int = 0
    """Tokens that were read to choose the prompt."""


Route = Callable[[Sequence[Query], threading.Event | None], list[RoutedPrompt]]


@dataclass(frozen=True)
class System:
    """One row of the comparison."""

    name: SystemName
    route: Route
    gated: GatedModel | None = None
    """Who answers; None for the base."""
    note: str = ""
    route_alone: Route | None = None
    """What it asks where its time is taken, if that differs: then its gate has to decide."""

    @property
    def label(self) -> str:
        """Name shown to people."""
        return LABELS[self.name]

    def answer(
        self,
        asked: Sequence[RoutedPrompt],
        base: LocalModel,
        sampling: Sampling,
        seeds: Sequence[int],
        cancel: threading.Event | None = None,
    ) -> list[Completion]:
        """Answer rows as they were routed; only a gate that decided leaves its reading."""
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
class SystemParts:
    """All that systems are made of."""

    base: LocalModel
    variant_of: VariantOf
    """The variant that a persona's answers were written with, by its name."""
    personas: tuple[Persona, ...] = ()
    prism: GatedModel | None = None
    sft: GatedModel | None = None
    """A LoRA fine-tuned on the persona's answers, held open."""
    kl: GatedModel | None = None
    """A LoRA distilled without verification; by default PRISM's own is held open."""
    seed: int = 0


def build_systems(
    parts: SystemParts, held_out: Sequence[JudgedPair]
) -> tuple[list[System], list[MissingRow]]:
    """Build every system that can be built, base first, and say why the others cannot.

    Random and oracle gate are made for the held-out queries.
    """
    systems = [System("base", _neutral(is_routed=False)), _persona_prompt(parts)]
    missing: dict[SystemName, str] = {}
    if parts.personas:
        systems.append(_chosen_persona(parts))
    else:
        missing["chosen_persona"] = "There is nothing to choose: it takes at least two personas."
    held_open = _neutral("open", is_routed=True)
    if parts.sft is not None:
        systems.append(System("sft", held_open, parts.sft))
    else:
        missing["sft"] = "No LoRA was fine-tuned on the persona's answers in this run."
    if parts.kl is not None:
        systems.append(System("kl_lora", held_open, parts.kl))
    elif parts.prism is not None:
        note = "PRISM's own adapter with its gate held open."
        systems.append(System("kl_lora", held_open, parts.prism, note))
    else:
        missing["kl_lora"] = _NO_PRISM
    if parts.prism is not None:
        systems += _gated(parts.prism, held_out, parts.seed)
    else:
        missing |= {"prism": _NO_PRISM, "random_gate": _NO_PRISM, "oracle_gate": _NO_PRISM}
    return systems, [MissingRow(name, LABELS[name], why) for name, why in missing.items()]


def _neutral(gate: GateMode = "closed", is_routed: bool | None = None) -> Route:
    """Ask every query as it stands, the gate alike for all."""
    return lambda queries, _cancel: [
        RoutedPrompt(build_prompt(q.text, PromptVariant()), gate, is_routed) for q in queries
    ]


def _persona_prompt(parts: SystemParts) -> System:
    has_system_role = parts.base.has_system_role

    def route(queries: Sequence[Query], _cancel: threading.Event | None) -> list[RoutedPrompt]:
        return [
            RoutedPrompt(
                build_prompt(q.text, parts.variant_of(q.persona), has_system_role), is_routed=True
            )
            for q in queries
        ]

    return System("persona_prompt", route)


def _chosen_persona(parts: SystemParts) -> System:
    chooser, base = PersonaChooser(parts.personas, parts.base), parts.base

    def route(queries: Sequence[Query], cancel: threading.Event | None) -> list[RoutedPrompt]:
        texts = [q.text for q in queries]
        asked = []
        for text, choice in zip(texts, chooser.choose(texts, cancel=cancel), strict=True):
            name = choice.persona
            variant = parts.variant_of(name) if name else PromptVariant()
            read = len(encode_prompt(base.tokenizer, choosing_prompt(text, parts.personas)))
            prompt = build_prompt(text, variant, base.has_system_role)
            asked.append(RoutedPrompt(prompt, is_routed=name is not None, tokens_before=read))
        return asked

    count = len(parts.personas)
    note = f"It chooses among {count} persona{'' if count == 1 else 's'} and nobody."
    return System("chosen_persona", route, note=note)


def _gated(prism: GatedModel, held_out: Sequence[JudgedPair], seed: int) -> list[System]:
    """Build PRISM, and the same adapter behind a random and a perfect gate.

    PRISM's gate decides beforehand, by the same layer 0 as in its one pass: so a query that it
    leaves to the base is the very row of the base's batch, and no rounding of another batch's shape
    comes between them.
    """
    queries = [judged.pair.query for judged in held_out]
    probabilities = prism.probabilities([build_prompt(q.text, PromptVariant()) for q in queries])
    opened = [p >= prism.threshold for p in probabilities]
    shuffled = _decided(queries, random_gate(opened, seed))
    perfect = _decided(queries, [judged.route == "distill" for judged in held_out])
    many = f"Open for {sum(opened)} of {len(opened)} queries, as PRISM's gate is."
    return [
        System("prism", _decided(queries, opened), prism, route_alone=_neutral("auto")),
        System("random_gate", shuffled, prism, many),
        System("oracle_gate", perfect, prism, "Open exactly where the persona won."),
    ]


def _decided(queries: Sequence[Query], opened: Sequence[bool]) -> Route:
    """Route by a gate whose decisions are known beforehand."""
    decisions = {q.id: is_open for q, is_open in zip(queries, opened, strict=True)}

    def route(wanted: Sequence[Query], _cancel: threading.Event | None) -> list[RoutedPrompt]:
        return [
            RoutedPrompt(
                build_prompt(q.text, PromptVariant()),
                "open" if decisions[q.id] else "closed",
                is_routed=decisions[q.id],
            )
            for q in wanted
        ]

    return route
