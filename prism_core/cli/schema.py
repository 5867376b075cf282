"""`python -m prism_core schema`: the JSON Schema of what people write, for editors.

The limits of the specs' fields are those of their types; the options of other commands take them
from there too, through `add_fields`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from prism_core.cli.output import real, whole
from prism_core.utils.validation import json_schema, range_of

_SPECS = ("study", "train", "rl")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser(
        "schema", help="the JSON Schema of a spec, for editors", allow_abbrev=False
    )
    parser.add_argument("spec", choices=_SPECS, help="what the schema describes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    if args.spec == "study":
        from prism_core.study.spec import yaml_schema

        schema = yaml_schema()
    elif args.spec == "train":
        from prism_core.prism.spec import TrainSpec

        schema = json_schema(TrainSpec)
    else:
        from prism_core.rl.spec import RlSpec

        schema = json_schema(RlSpec)
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    print(json.dumps(draft | schema, indent=2, ensure_ascii=False))
    return 0


def add_fields(parser: argparse.ArgumentParser, kind: type, helps: Mapping[str, str]) -> None:
    """Add an option for each of a spec's fields, with the limits of its type.

    An option that is not given is None, so that a preset can stand behind it.

    Args:
        parser: where the options go.
        kind: the spec; every field has a default.
        helps: field -> its line of help.
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
