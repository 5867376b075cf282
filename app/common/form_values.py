"""Reading the numbers of a form: one rule and one sentence for all tabs."""

from __future__ import annotations

import math
import unicodedata

from prism_core.errors import InputError
from prism_core.models.sources import EMBEDDED

MAX_SEED = 2**31 - 1

_MOST = 1e12


def read_number(
    label: str, value: object, low: float | None = None, high: float | None = None
) -> float:
    """A field's number, within the limits that are given.

    Raises:
        InputError: it is empty, no number, or outside; the message names the field and quotes it.
    """
    return _read(label, value, False, low, high)


def read_whole(label: str, value: object, low: int | None = None, high: int | None = None) -> int:
    """A field's whole number, within the limits that are given.

    Raises:
        InputError: it is empty, no whole number, or outside; the message quotes it.
    """
    return int(_read(label, value, True, low, high))


def _read(label: str, value: object, whole: bool, low: float | None, high: float | None) -> float:
    kind = "a whole number" if whole else "a number"
    kind += "" if low is None else f" from {low:,.10g}"
    kind += "" if high is None else f" to {high:,.10g}"
    if value is None or value == "":
        raise InputError(f"{label} is empty; it must be {kind}.")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _refused(label, value, kind)
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise _refused(label, value, kind) from error
    if not math.isfinite(number) or abs(number) > _MOST or (whole and not number.is_integer()):
        raise _refused(label, value, kind)
    if (low is not None and number < low) or (high is not None and number > high):
        raise _refused(label, value, kind)
    return number


def _refused(label: str, value: object, kind: str) -> InputError:
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return InputError(f"{label} is '{shown[:40]}'; it must be {kind}.")


def check_model(reference: str) -> str:
    """A model reference that is at least readable; where it leads is checked when it is loaded.

    Raises:
        InputError: empty, far too long, or with invisible characters.
    """
    text = str(reference or "").strip()
    if not text:
        raise InputError(f"No model is chosen. Choose '{EMBEDDED}' for the one that comes along.")
    if len(text) > 300 or any(unicodedata.category(c)[0] == "C" for c in text):
        shown = "".join(c for c in text[:40] if c.isprintable())
        raise InputError(f"'{shown}' is not a model: use at most 300 visible characters.")
    return text
