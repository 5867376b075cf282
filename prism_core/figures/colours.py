"""Colours and signs: one place, so that an arm looks the same in all figures, light and dark.

Every colour is readable on white and on near-black. Colour never stands alone: a change
that is no effect is hollow and grey, one on too few items dotted, and arms differ in their symbol.
"""

from __future__ import annotations

from collections.abc import Mapping

NEUTRAL = "#7a7d89"
PERSONA = "#7264e6"
ADAPTER = "#d1408f"
CONTROL = "#12867d"
REPORTED = "#c2780c"
"""The paper's own numbers."""
OFF = "#8b8e9a"
"""No effect, or one that cannot be judged."""
PALE = "rgba(128, 130, 145, 0.45)"
GRID = "rgba(128, 130, 145, 0.22)"
INK = "#7a7d89"
ARM_COLOURS: Mapping[str, str] = {
    "neutral": NEUTRAL,
    "persona": PERSONA,
    "adapter": ADAPTER,
    "control": CONTROL,
}
ARM_SYMBOLS: Mapping[str, str] = {
    "neutral": "square",
    "persona": "circle",
    "adapter": "diamond",
    "control": "triangle-up",
}
ARM_TITLES: Mapping[str, str] = {
    "neutral": "neutral",
    "persona": "persona",
    "adapter": "PRISM adapter",
    "control": "control text",
}
LENGTH_COLOURS: Mapping[str, str] = {
    "": NEUTRAL,
    "min": "#aba3f5",
    "short": "#7f72ea",
    "long": "#4f3fcf",
}
PLACEMENT_COLOURS: Mapping[str, str] = {"system": PERSONA, "user": "#2b7fc4"}
PLACEMENT_SYMBOLS: Mapping[str, str] = {"system": "circle", "user": "square"}
DIVERGING = [
    [0.0, "#e2705c"],
    [0.25, "#eda596"],
    [0.5, "#eceae7"],
    [0.75, "#8ecdc4"],
    [1.0, "#3fae9f"],
]
"""From worse over no change to better; light enough for dark numbers, and told apart by people who
see red and green alike."""


def faded(colour: str, share: float) -> str:
    """Return a colour `#rrggbb` with the given opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {share:g})"
