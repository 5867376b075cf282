"""`prism schema`: the JSON Schema of what people write, for editors."""

from __future__ import annotations

import argparse
import json

from prism_core.utils.validation import json_schema

HELP = "the JSON Schema of a spec, for editors"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    parser.add_argument("spec", choices=("study", "train", "rl"), help="what the schema describes")


def run(args: argparse.Namespace) -> None:
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
