"""How an effect is drawn: filled where it is clear, hollow where it is not, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prism_core.analysis.effects import Call
from prism_core.figures.colours import OFF
from prism_core.types import Estimate


def marker(call: Call, colour: str, symbol: str = "circle", size: int = 11) -> dict[str, Any]:
    """How an effect is drawn: filled if clear, hollow and grey if not, dotted if too few items."""
    if call in ("up", "down"):
        return {"color": colour, "symbol": symbol, "size": size, "line": {"width": 0}}
    shape = f"{symbol}-open" if call == "none" else f"{symbol}-open-dot"
    return {"color": OFF, "symbol": shape, "size": size, "line": {"width": 1.6, "color": OFF}}


def bars_of(estimates: Sequence[Estimate], colour: str = "") -> dict[str, Any]:
    """Plotly's asymmetric error bars for intervals; none where there is no interval."""

    def gap(high: float | None, low: float | None) -> float | None:
        return None if high is None or low is None else max(0.0, high - low)

    return {
        "type": "data",
        "symmetric": False,
        "array": [gap(e.high, e.value) for e in estimates],
        "arrayminus": [gap(e.value, e.low) for e in estimates],
        "thickness": 1.4,
        "width": 3,
        **({"color": colour} if colour else {}),
    }
