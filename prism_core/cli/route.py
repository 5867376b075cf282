"""`prism route`: what an adapter's gate says of questions, one a line on stdin."""

from __future__ import annotations

import argparse
import json
import sys

from prism_core.cli.adapter import find_bundle, open_base
from prism_core.cli.options import add_json, add_trained_adapter, real
from prism_core.cli.output import clean_stdout, printable
from prism_core.errors import InputError
from prism_core.personas.prompts import build_prompt, clean_question
from prism_core.types import PromptVariant

HELP = "ask an adapter's gate about questions"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    add_trained_adapter(parser)
    parser.add_argument(
        "--threshold", type=real(0, 1), help="opens the gate (default: the adapter's)"
    )
    add_json(parser, "one JSON object a question")


def run(args: argparse.Namespace) -> None:
    """Answer every line of stdin as it comes; blank lines are skipped."""
    from prism_core.prism.bundle import load_bundle

    with clean_stdout():
        bundle, info = find_bundle(args.adapter)
        model = load_bundle(bundle, open_base(info, args.model), args.threshold)
    for number, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        try:
            question = clean_question(line)
        except InputError as error:
            raise InputError(f"Line {number} of the input: {error}") from error
        [probability] = model.probabilities([build_prompt(question, PromptVariant())])
        is_open = probability >= model.threshold
        if args.json:
            found = {"question": question, "probability": probability, "open": is_open}
            text = json.dumps(found, ensure_ascii=False, allow_nan=False)
        else:
            text = f"{probability:.3f} {'open' if is_open else 'closed':<6} {printable(question)}"
        print(text, flush=True)
