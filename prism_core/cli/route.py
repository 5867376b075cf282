"""`python -m prism_core route`: what an adapter's gate says of questions, one a line on stdin."""

from __future__ import annotations

import argparse
import json
import sys

from prism_core.cli.adapter import open_adapter
from prism_core.cli.output import clean_stdout, printable, real
from prism_core.errors import InputError
from prism_core.personas.prompts import build_prompt, clean_question
from prism_core.types import PromptVariant


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser(
        "route", help="ask an adapter's gate about questions", allow_abbrev=False
    )
    add = parser.add_argument
    add("--adapter", required=True, metavar="DIR", help="an adapter, or the folder of its run")
    add("--model", metavar="REF", help="its base model (default: as the adapter says)")
    add("--threshold", type=real(0, 1), help="opens the gate (default: the adapter's)")
    add("--json", action="store_true", help="print one JSON object a question")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer every line of stdin as it comes; blank lines are skipped."""
    with clean_stdout():
        model = open_adapter(args.adapter, args.model, args.threshold)
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
    return 0
