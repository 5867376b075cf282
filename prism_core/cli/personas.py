"""`python -m prism_core personas`: the personas there are."""

from __future__ import annotations

import argparse

from prism_core.cli.output import emit_json
from prism_core.personas.library import load_personas


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser("personas", help="list the personas", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object, with texts")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List every persona with its kind, title and lengths."""
    personas = load_personas().values()
    if args.json:
        rows = [
            {
                "name": p.name,
                "title": p.title,
                "kind": p.kind,
                "domain": p.domain,
                "texts": dict(p.texts),
            }
            for p in personas
        ]
        emit_json({"personas": rows})
        return 0
    width = max((len(p.name) for p in personas), default=0)
    for p in personas:
        lengths = ", ".join(p.texts)
        print(f"{p.name:<{width}}  {p.kind:<9}  {p.title} ({p.domain}; {lengths})")
    return 0
