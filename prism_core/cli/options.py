"""The options that several commands share, and what argparse may read for a number."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

from prism_core.utils.validation import MAX_SEED, range_of


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number from low to high."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(
                f"'{text[:40]}' is not a whole number from {low} to {high}"
            )
        return number

    return parse


def real(low: float, high: float) -> Callable[[str], float]:
    """Return an argparse type: a number from low to high."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:  # False for NaN too
            raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a number from {low} to {high}")
        return number

    return parse


def add_json(parser: argparse.ArgumentParser, what: str = "one JSON object") -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help=f"print {what}")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add `--model` and `--seed` of a command that asks a model."""
    add = parser.add_argument
    add("--model", default="embedded", metavar="REF", help="see `models` (default: embedded)")
    add("--seed", type=whole(0, MAX_SEED), default=0, metavar="N")


def add_trained_adapter(parser: argparse.ArgumentParser) -> None:
    """Add `--adapter` and `--model` of a command that examines a trained adapter."""
    add = parser.add_argument
    add("--adapter", required=True, metavar="DIR", help="an adapter, or the folder of its run")
    add("--model", metavar="REF", help="its base model (default: as the adapter says)")


def add_robustness(parser: argparse.ArgumentParser) -> None:
    """Add what both measures of robustness take."""
    add_model(parser)
    add = parser.add_argument
    add("--adapter", metavar="DIR", help="an adapter's folder; it is on for every question")
    add("--keep", metavar="LABEL", help="show it in Explore's Robustness figure under this name")
    add_json(parser)


def add_training(parser: argparse.ArgumentParser, presets: tuple[str, ...]) -> None:
    """Add the folder and the preset of a training run."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", help="a new folder for the run")
    where.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    add = parser.add_argument
    add("--preset", choices=presets, default="quick", help="settings (default: quick)")
    add_json(parser)


def add_fields(parser: argparse.ArgumentParser, kind: type, helps: Mapping[str, str]) -> None:
    """Add an option for each of a spec's fields, with the limits of its type.

    An option that is not given is None, so that a preset can stand behind it. Every field of the
    spec has a default; `helps` maps a field to its line of help.
    """
    hints, start = get_type_hints(kind), kind()
    for field, text in helps.items():
        flag, default = f"--{field.replace('_', '-')}", getattr(start, field)
        if words := get_args(hints[field]):
            parser.add_argument(flag, choices=words, help=text)
        elif isinstance(default, str):
            parser.add_argument(flag, help=text)
        else:
            low, high = range_of(kind, field)
            is_whole = isinstance(default, int)
            reader = whole(int(low), int(high)) if is_whole else real(low, high)
            parser.add_argument(flag, type=reader, metavar="N" if is_whole else "X", help=text)


def given_fields(args: argparse.Namespace, helps: Mapping[str, str]) -> dict[str, Any]:
    """Return what was given of the options that `add_fields` added."""
    found = {field: getattr(args, field) for field in helps}
    return {field: value for field, value in found.items() if value is not None}
