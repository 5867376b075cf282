"""Measured robustness of models and adapters, kept in one small file: stability and fidelity.

`prism stability --keep LABEL` and `fidelity --keep LABEL` add to the file in the data folder; what
was measured for the shipped arms is in `assets/robustness.json`. The figure draws both. Points may
be compared where task, personas and judge are the same: each says them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prism_core.errors import InputError, PrismError, StorageError
from prism_core.storage import loads, pack, unpack
from prism_core.storage.folders import data_dir
from prism_core.types import Estimate
from prism_core.utils.assets import ASSETS
from prism_core.utils.durable import replacing
from prism_core.utils.validation import check_name

SHIPPED = ASSETS / "robustness.json"
FILE_NAME = "robustness.json"
MAX_LABEL = 60


@dataclass(frozen=True)
class RobustnessPoint:
    """One model, with or without an adapter."""

    label: str
    model: str
    stability: Estimate | None = None
    held_out: Estimate | None = None
    mean: Estimate | None = None
    task: str = ""
    fidelity: Estimate | None = None
    """PersonaScore, 1 to 5."""
    markers: Estimate | None = None
    """Share of answers with a word of the character's own; needs no judge."""
    judge: str = ""
    """Who gave the PersonaScore."""


def load_points(paths: Sequence[Path] | None = None) -> tuple[RobustnessPoint, ...]:
    """Return the points of the shipped file and of the data folder's own.

    Raises:
        InputError: a file is damaged.
    """
    found: list[RobustnessPoint] = []
    for path in paths if paths is not None else (SHIPPED, data_dir() / FILE_NAME):
        if path.is_file():
            found += _read(path).values()
    return tuple(found)


def keep_point(label: str, model: str, path: Path | None = None, **parts: Any) -> RobustnessPoint:
    """Add to the point of that label, or make it.

    Args:
        label: 1 to 60 visible characters.
        model: model and adapter in full; a point belongs to one.
        path: the file; by default the data folder's.
        parts: fields of `RobustnessPoint`.

    Raises:
        InputError: the label is not allowed, or belongs to another model.
        StorageError: the file cannot be written.
    """
    clean = check_name(label, MAX_LABEL)
    path = path or data_dir() / FILE_NAME
    points = _read(path) if path.is_file() else {}
    point = points.get(clean, RobustnessPoint(clean, model))
    if point.model != model:
        raise InputError(f"'{clean}' is already kept for '{point.model}'. Choose another label.")
    points[clean] = replace(point, **parts)
    text = json.dumps([pack(p) for p in points.values()], indent=1, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"'{path}' could not be written: {error.strerror}.") from error
    return points[clean]


def _read(path: Path) -> dict[str, RobustnessPoint]:
    try:
        data = loads(path.read_text(encoding="utf-8"))
        points = [unpack(RobustnessPoint, one) for one in data]
    except (OSError, ValueError, TypeError, PrismError) as error:
        raise InputError(f"'{path.name}' holds no robustness points: {error}") from error
    return {p.label: p for p in points}
