"""`prism personas`: the personas there are."""

from __future__ import annotations

import argparse

from prism_core.cli.options import add_json
from prism_core.cli.output import emit_json
from prism_core.personas.library import load_personas

HELP = "list the personas"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    add_json(parser, "one JSON object, with texts")


def run(args: argparse.Namespace) -> None:
    """List every persona with its kind, title and lengths."""
    personas = load_personas().values()
    if args.json:
        fields = ("name", "title", "kind", "domain")
        rows = [{f: getattr(p, f) for f in fields} | {"texts": dict(p.texts)} for p in personas]
        emit_json({"personas": rows})
        return
    width = max((len(p.name) for p in personas), default=0)
    for p in personas:
        lengths = ", ".join(p.texts)
        print(f"{p.name:<{width}}  {p.kind:<9}  {p.title} ({p.domain}; {lengths})")
