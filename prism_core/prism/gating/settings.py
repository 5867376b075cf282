"""What a gate may read, when it opens, and the file that it is kept in."""

from __future__ import annotations

from typing import Literal, get_args

Feature = Literal["last", "mean", "both"]
FEATURES: tuple[Feature, ...] = get_args(Feature)
GATE_FILE = "gate.safetensors"
PAPER_THRESHOLD = 0.5
"""The gate opens where P(persona helps | query) is at least this (section 4.4)."""
