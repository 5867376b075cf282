"""The Explore tab's raw values turned into filters and options. Nothing here knows Gradio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from prism_core.analysis import Filters, ScoreGrid
from prism_core.analysis.domains import in_order, title_of
from prism_core.analysis.grid import SCORE_NAMES, ScoreName
from prism_core.figures import FigureOptions
from prism_core.figures.colours import ARM_TITLES
from prism_core.types import LENGTHS

FILTER_FIELDS: tuple[str, ...] = tuple(f.name for f in fields(Filters))
"""The filters in the order of the page's fields."""
_MOST = 200
_COLUMNS = {
    "models": "model",
    "arms": "arm",
    "personas": "persona",
    "lengths": "length",
    "placements": "placement",
}


def filters_of(values: Sequence[object]) -> Filters:
    """Return the filters that the page's fields ask for; what is not a list is left out."""
    chosen = {
        name: tuple(str(v) for v in value[:_MOST]) if isinstance(value, list) else ()
        for name, value in zip(FILTER_FIELDS, values, strict=True)
    }
    return Filters(**chosen)


def options_of(score: object, matched: object, overlay: object, delta: float) -> FigureOptions:
    """Return the options that the page's fields ask for."""
    name: ScoreName = next((s for s in SCORE_NAMES if s == score), "accuracy")
    return FigureOptions(name, bool(overlay), bool(matched), delta)


def filter_choices(grid: ScoreGrid) -> dict[str, list[tuple[str, str]]]:
    """Return what each filter offers in a study: (shown, value)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, column in _COLUMNS.items():
        values = [v for v in dict.fromkeys(grid.cells[column]) if v]
        if name == "lengths":
            values.sort(key=lambda v: LENGTHS.index(v) if v in LENGTHS else 9)
        found[name] = [(_shown(name, v), v) for v in values]
    found["tasks"] = [(title_of(t), t) for t in dict.fromkeys(grid.items["task"])]
    found["categories"] = [(title_of(c), c) for c in in_order(grid.items["category"])]
    return found


def _shown(name: str, value: str) -> str:
    if name == "models":
        return value
    return ARM_TITLES.get(value, value) if name == "arms" else title_of(value)
