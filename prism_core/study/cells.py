"""The cells of a study: neutral, every persona at every length and placement, every adapter.

A cell says who answers and behind which text. All cells of a model answer the same items, so that
each can be compared with neutral item by item. Where a chat template has no system role, or a
persona lacks a length, the cell is left out with a sentence instead of being answered twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from prism_core.models.remote.probe import Probe
from prism_core.personas.prompts import effective_placement
from prism_core.study.choices import Way
from prism_core.study.spec import StudySpec
from prism_core.study.table import NEUTRAL
from prism_core.types import Persona, PromptVariant

LETTER_TOKENS, THINKING_TOKENS = 16, 2_048
"""The longest answer that names a choice; the second of a model that thinks before."""


@dataclass(frozen=True)
class Cell:
    """One way of answering."""

    label: str
    """Short and unique within a model, such as `math/long/system`."""
    arm: Literal["neutral", "persona", "adapter"] = "neutral"
    variant: PromptVariant = field(default_factory=PromptVariant)
    adapter: str = ""
    adapter_name: str = ""
    threshold: float | None = None


@dataclass(frozen=True)
class AdapterFact:
    """An adapter that was found to fit the model."""

    reference: str
    name: str
    threshold: float
    fingerprint: str = ""
    """Identity of its weights and gate."""


@dataclass(frozen=True)
class ModelFacts:
    """What a study must know of a model before its cells can be laid out."""

    reference: str
    name: str
    fingerprint: str
    """Identity of weights and template."""
    has_system_role: bool
    scoring: Way
    adapters: tuple[AdapterFact, ...] = ()
    """Those of the spec's adapters that fit it."""
    notes: tuple[str, ...] = ()
    probe: Probe | None = None
    """What was found out about a model at an endpoint."""

    @property
    def letter_tokens(self) -> int | None:
        """The longest answer where the model writes the letter of its choice; None where not."""
        if self.scoring != "written":
            return None
        return THINKING_TOKENS if self.probe is not None and self.probe.reasons else LETTER_TOKENS


def cells_of(
    spec: StudySpec,
    personas: Sequence[Persona],
    adapters: Sequence[AdapterFact] = (),
    has_system_role: bool = True,
) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """Return all cells for one model, neutral first, and what was left out as sentences.

    Args:
        spec: the study's choices.
        personas: those that the spec names.
        adapters: those of the spec's adapters that fit the model.
        has_system_role: whether the model's chat template takes a system turn.
    """
    cells, notes = [Cell(NEUTRAL)], []
    placements = [p for p in spec.placements if effective_placement(p, has_system_role) == p]
    if spec.personas or spec.own_personas:
        for lost in (p for p in spec.placements if p not in placements):
            notes.append(f"The model has no {lost} turn, so the placement '{lost}' is left out.")
            placements = placements or ["user"]
    for persona in personas:
        for length in spec.lengths:
            if not persona.texts.get(length, "").strip():
                notes.append(f"The persona '{persona.name}' has no text of length '{length}'.")
                continue
            for placement in placements:
                variant = PromptVariant(persona, length, placement)
                cells.append(Cell(variant.label, "persona", variant))
    return (*cells, *_adapter_cells(spec, adapters)), tuple(notes)


def _adapter_cells(spec: StudySpec, adapters: Sequence[AdapterFact]) -> list[Cell]:
    found: dict[str, Cell] = {}
    for arm in spec.adapters:
        fact = next((a for a in adapters if a.reference == arm.reference), None)
        if fact is None:
            continue
        own = fact.threshold if arm.threshold is None else arm.threshold
        for threshold in (own, 0.0) if spec.sweep else (own,):
            label = f"adapter:{fact.name}@{threshold:.4g}"
            cell = Cell(label, "adapter", adapter=fact.reference, adapter_name=fact.name)
            found[label] = replace(cell, threshold=threshold)
    return list(found.values())
