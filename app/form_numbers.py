"""Reading the numbers of a form: one rule and one sentence for all tabs."""

from __future__ import annotations

import math

from prism_core.errors import InputError

_MOST = 1e12


def read_number(label: str, value: object) -> float:
    """A field's number.

    Raises:
        InputError: it is empty or no number; the message names the field and quotes it.
    """
    return _read(label, value, "a number")


def read_whole(label: str, value: object, low: int | None = None, high: int | None = None) -> int:
    """A field's whole number, within limits where both are given.

    Raises:
        InputError: it is empty, no whole number, or outside; the message quotes it.
    """
    kind = "a whole number"
    if low is not None and high is not None:
        kind += f" from {low} to {high:,}"
    number = _read(label, value, kind)
    if not number.is_integer() or not (low is None or high is None or low <= number <= high):
        raise _refused(label, value, kind)
    return int(number)


def _read(label: str, value: object, kind: str) -> float:
    if value is None or value == "":
        raise InputError(f"{label} is empty; it must be {kind}.")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _refused(label, value, kind)
    try:
        number = float(value)
    except ValueError as error:
        raise _refused(label, value, kind) from error
    if not math.isfinite(number) or abs(number) > _MOST:
        raise _refused(label, value, kind)
    return number


def _refused(label: str, value: object, kind: str) -> InputError:
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return InputError(f"{label} is '{shown[:40]}'; it must be {kind}.")
