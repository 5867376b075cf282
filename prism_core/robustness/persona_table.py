"""Asking every item under every persona of the pool: the table that stability is read from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from prism_core.models.generator import Generator
from prism_core.personas.pool import Attitude, Part, PoolPersona
from prism_core.progress import Progress
from prism_core.rl.evaluation import Asking, rewards_of
from prism_core.rl.tasks import draw_items, examples_of, get_family
from prism_core.robustness.stability import PersonaAccuracy, StabilityTable
from prism_core.storage.journal import Journal, MemoryJournal, begin

STABILITY_STAGE = "stability"


@dataclass(frozen=True)
class StabilityConfig:
    """On what stability is measured."""

    family: str = "needle"
    level: int = 0
    items: int = 48
    """Held-out questions; all personas get the same."""
    seed: int = 0
    """Chooses the questions, and draws answers where the temperature is not 0."""
    temperature: float = 0.0
    repeats: int = 1


def measure_table(
    config: StabilityConfig,
    model: Generator,
    pool: Sequence[PoolPersona],
    progress: Progress,
    journal: Journal | None = None,
) -> StabilityTable:
    """Ask and grade; one persona is one part of the journal.

    Raises:
        InputError: the journal was begun with other settings.
        CancelledError: stopped on request; finished personas are kept.
    """
    family = get_family(config.family)
    items = draw_items(family, config.level, "held_out", config.items, config.seed)
    examples = examples_of(family, config.level)
    journal = journal or MemoryJournal()
    texts = hashlib.sha256("\0".join(p.text for p in pool).encode()).hexdigest()
    known = begin(journal, STABILITY_STAGE, config, model.fingerprint, texts)
    asked: list[tuple[str, str, Attitude | None, Part | None]] = [("", "", None, None)]
    asked += [(p.name, p.text, p.attitude, p.part) for p in pool]
    rows = []
    for number, (name, text, attitude, part) in enumerate(asked):
        progress.update("personas", number, len(asked), name or "no persona")
        key = name or "#neutral"
        if key not in known:
            asking = Asking(
                examples, family.tokens, config.temperature, config.repeats, text, config.seed
            )
            found = rewards_of(model, items, asking, progress)
            known[key] = [sum(found[i.id]) / len(found[i.id]) for i in items]
            journal.save(STABILITY_STAGE, {key: known[key]})
        rows.append(PersonaAccuracy(name, attitude, part, tuple(known[key])))
    progress.update("personas", len(asked), len(asked))
    return StabilityTable(model.name, tuple(i.id for i in items), rows[0], tuple(rows[1:]))
