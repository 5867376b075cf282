"""Numbers as people read them, and the pieces that readings are put together from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prism_core.types import Estimate


def points(value: float) -> str:
    """Return a difference of scores in points of 100, with its sign: `+3.2`."""
    shown = f"{value * 100:+.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown


def effect_text(estimate: Estimate) -> str:
    """Return a difference like `+3.2 points [+1.0, +5.4], n = 60`."""
    return _text(estimate, points, " points", ", no interval")


def rate_text(estimate: Estimate) -> str:
    """Return a share like `62.0 % [48.1, 75.2], n = 40`."""
    return _text(estimate, lambda share: f"{share * 100:.1f}", " %")


def number_text(estimate: Estimate) -> str:
    """Return a number like `0.65 [0.20, 0.87], n = 12`."""
    return _text(estimate, "{:.2f}".format)


def _text(
    estimate: Estimate, shown: Callable[[float], str], unit: str = "", without: str = ""
) -> str:
    if estimate.value is None:
        return f"not defined, n = {estimate.n}"
    span = without
    if estimate.low is not None and estimate.high is not None:
        span = f" [{shown(estimate.low)}, {shown(estimate.high)}]"
    return f"{shown(estimate.value)}{unit}{span}, n = {estimate.n}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return names like `a, b and c`; beyond `most`, like `a, b, c and 4 more`."""
    if len(names) > most:
        rest = len(names) - (most - 1)
        return ", ".join(names[: most - 1]) + f" and {rest} more"
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + " and " + names[-1]


def sentence(text: str) -> str:
    """Return the text with a capital first letter and a full stop."""
    text = text.strip()
    if not text:
        return ""
    end = "" if text.endswith((".", "!", "?")) else "."
    return text[0].upper() + text[1:] + end


def plural(number: int, noun: str) -> str:
    """Return `1 item` or `2 items`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
