"""`prism rl`: train one arm on verifiable rewards, or go on with it."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from prism_core.cli.options import add_fields, add_training, given_fields
from prism_core.cli.output import clean_stdout, emit_json
from prism_core.cli.run_folder import train_in_folder
from prism_core.errors import InputError
from prism_core.progress import Progress
from prism_core.rl.spec import RL_PRESETS, RlPreset, RlSpec, check_rl_spec
from prism_core.storage.folder_store import check_folder

if TYPE_CHECKING:
    from prism_core.rl.result import RlResult

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


HELP = "train for persona robustness on verifiable rewards"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    add_training(parser, get_args(RlPreset))
    add_fields(parser, RlSpec, _OPTIONS)
    vllm = argparse.BooleanOptionalAction
    parser.add_argument("--vllm", action=vllm, default=None, help="sample with vLLM")


def run(args: argparse.Namespace) -> None:
    """Train, saying on stderr how far it is."""
    from prism_core.rl.run import train_rl
    from prism_core.storage import pack
    from prism_core.storage.journal import MemoryJournal

    folder = Path(args.resume or args.out).expanduser()
    # Of the processes that `accelerate launch` starts, the first keeps the journal.
    is_first = os.environ.get("RANK", "0") == "0"
    if not is_first and args.resume:
        raise InputError("A run of several processes cannot be resumed yet; start it anew.")
    if is_first:
        check_folder(folder, "rl", resume=bool(args.resume))
    spec = None if args.resume else _spec(args)
    if not is_first and spec is not None:
        with clean_stdout():
            train_rl(spec, folder, MemoryJournal(), Progress())
        return
    result = train_in_folder(folder, "rl", spec, RlSpec, train_rl)
    if args.json:
        emit_json(pack(result))
    else:
        print(_text(result, folder))


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
