"""What a comparison of systems is made of: its settings, its queries and who takes part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from prism_core.errors import InputError
from prism_core.prism.ablation.systems import System
from prism_core.prism.ablation.table import Behaviour, MissingRow
from prism_core.prism.bootstrap.answers import ANSWERING
from prism_core.prism.records import JudgedPair
from prism_core.types import Sampling
from prism_core.utils.validation import check


@dataclass(frozen=True)
class AblationConfig:
    """How the systems are compared."""

    sampling: Sampling = ANSWERING
    seed: int = 0
    timed: Annotated[int, Field(ge=0, le=1_000)] = 4
    """Queries that are asked alone to take the time; 0 leaves the column out."""
    batch_rows: Annotated[int, Field(ge=1, le=512)] = 64
    """Answers decoded, and judged, and journaled, together."""
    max_tokens: Annotated[int, Field(ge=16, le=131_072)] = 1024
    """Longer answers are cut where the KL is measured."""
    judge: str = "the model itself"
    """Who judges, as shown to people."""


@dataclass(frozen=True)
class AblationInputs:
    """Who takes part, and on which queries."""

    held_out: Sequence[JudgedPair]
    """Queries that nothing was trained on, with their pairs and verdicts."""
    systems: Sequence[System]
    missing: Sequence[MissingRow] = ()
    behaviour: Behaviour | None = None


def check_inputs(config: AblationConfig, inputs: AblationInputs) -> None:
    """Refuse a comparison that cannot be made.

    Raises:
        InputError: no held-out query or one twice, no base, a system twice, or a bad setting.
    """
    check(config)
    names = [s.name for s in inputs.systems]
    if not inputs.held_out:
        raise InputError("No query was held out, so there is nothing to compare the systems on.")
    if "base" not in names or len(set(names)) < len(names):
        raise InputError(
            f"The systems are {', '.join(names) or 'none'}; each must be named once, with 'base'."
        )
    ids = [judged.pair.query.id for judged in inputs.held_out]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise InputError(f"Two held-out queries have the id '{twice}'; every id must be unique.")
