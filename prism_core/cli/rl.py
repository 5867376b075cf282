"""`python -m prism_core rl`: train one arm on verifiable rewards, or go on with it."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from prism_core.cli.output import ProgressLine, clean_stdout, emit_json
from prism_core.cli.run_folder import check_folder, open_store, run_of
from prism_core.cli.schema import add_fields, given_fields
from prism_core.errors import InputError
from prism_core.progress import Progress
from prism_core.rl.spec import RL_PRESETS, RlPreset, RlSpec, check_rl_spec

if TYPE_CHECKING:
    from prism_core.rl.run import RlResult

_OPTIONS = {
    "arm": "what is trained (default: permix)",
    "model": "a model's reference, see `models` (default: embedded)",
    "name": "the adapter's name",
    "family": "the tasks: letters, sums, products, needle, gsm8k, math500",
    "level": "difficulty; -1 lets a probe choose",
    "persona_share": "probability of a persona",
    "mixing": "a persona for each prompt, or for each rollout",
    "steps": "optimiser steps",
    "prompts": "questions a step",
    "rollouts": "answers to each question",
    "learning_rate": "peak rate",
    "temperature": "of the rollouts",
    "kl_weight": "penalty towards the base model",
    "rank": "LoRA rank",
    "held_out": "held-out questions",
    "seed": "draws everything random",
}
"""The fields of a spec that can be given one by one, with their help."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser(
        "rl", help="train for persona robustness on verifiable rewards", allow_abbrev=False
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", help="a new folder for the run")
    where.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    add = parser.add_argument
    add("--preset", choices=get_args(RlPreset), default="quick", help="settings (default: quick)")
    add_fields(parser, RlSpec, _OPTIONS)
    add("--vllm", action=argparse.BooleanOptionalAction, default=None, help="sample with vLLM")
    add("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, saying on stderr how far it is."""
    from prism_core.rl.run import train_rl
    from prism_core.storage import pack, unpack
    from prism_core.storage.journal import MemoryJournal, StoreJournal

    folder = Path(args.resume or args.out).expanduser()
    # Of the processes that `accelerate launch` starts, the first keeps the journal.
    is_first = os.environ.get("RANK", "0") == "0"
    if not is_first and args.resume:
        raise InputError("A run of several processes cannot be resumed yet; start it anew.")
    if is_first:
        check_folder(folder, resume=bool(args.resume))
    spec = None if args.resume else _spec(args)
    if not is_first and spec is not None:
        with clean_stdout():
            train_rl(spec, folder, MemoryJournal(), Progress())
        return 0
    with open_store(folder) as store:
        row = run_of(store, "rl", spec)
        spec = unpack(RlSpec, dict(row.spec))
        with clean_stdout():
            journal = StoreJournal(store, row.id)
            result = train_rl(spec, folder, journal, Progress(ProgressLine()))
    if args.json:
        emit_json(pack(result))
    else:
        print(_text(result, folder))
    return 0


def _spec(args: argparse.Namespace) -> RlSpec:
    given = given_fields(args, _OPTIONS)
    if args.vllm is not None:
        given["use_vllm"] = args.vllm
    return check_rl_spec(replace(RL_PRESETS[args.preset], **given))


def _text(result: RlResult, folder: Path) -> str:
    lines = [
        f"Finished after {result.seconds:.0f} s: {result.family}, {result.level_name}.",
        f"Adapter in {folder / 'adapter'}.",
        f"  reward on held-out questions, base:    {result.base}",
        f"  reward on held-out questions, adapter: {result.trained}",
        f"  gained, paired by question:            {result.gain}",
        f"  greedy accuracy, base to adapter:      {result.greedy_base} to "
        f"{result.greedy_trained}, gained {result.greedy_gain}",
    ]
    return "\n".join([*lines, *result.notes])
