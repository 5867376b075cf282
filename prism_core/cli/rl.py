"""`python -m prism_core rl`: train one arm on verifiable rewards, or go on with it."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prism_core.cli.output import ProgressLine, clean_stdout, emit_json, real, whole
from prism_core.cli.run_folder import check_folder, open_store, run_of
from prism_core.errors import InputError
from prism_core.progress import Progress

if TYPE_CHECKING:
    from prism_core.rl.run import RlResult
    from prism_core.rl.spec import RlSpec

_ARMS, _MIXINGS, _PRESETS = ("rlvr", "permix", "sft"), ("prompt", "rollout"), ("quick", "full")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser(
        "rl", help="train for persona robustness on verifiable rewards", allow_abbrev=False
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", help="a new folder for the run")
    where.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    add = parser.add_argument
    add("--arm", choices=_ARMS, default="permix", help="what is trained (default: permix)")
    add("--preset", choices=_PRESETS, default="quick", help="settings (default: quick)")
    add("--model", metavar="REF", help="see `models` (default: embedded)")
    add("--name", help="the adapter's name")
    add(
        "--family",
        metavar="NAME",
        help="the tasks: letters, sums, products, needle, gsm8k, math500",
    )
    add("--level", type=whole(-1, 20), metavar="N", help="difficulty; -1 lets a probe choose")
    add("--persona-share", type=real(0, 1), metavar="P", help="probability of a persona")
    add("--mixing", choices=_MIXINGS, help="a persona for each prompt, or for each rollout")
    add("--steps", type=whole(1, 100_000), metavar="N", help="optimiser steps")
    add("--prompts", type=whole(1, 512), metavar="N", help="questions a step")
    add("--rollouts", type=whole(2, 64), metavar="N", help="answers to each question")
    add("--learning-rate", type=real(1e-7, 1e-2), metavar="X", help="peak rate")
    add("--temperature", type=real(0.1, 2), metavar="X", help="of the rollouts")
    add("--kl-weight", type=real(0, 1), metavar="X", help="penalty towards the base model")
    add("--rank", type=whole(1, 128), metavar="N", help="LoRA rank")
    add("--held-out", type=whole(8, 2000), metavar="N", help="held-out questions")
    add("--vllm", action=argparse.BooleanOptionalAction, default=None, help="sample with vLLM")
    add("--seed", type=whole(0, 2**31 - 1), default=None, metavar="N")
    add("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, saying on stderr how far it is."""
    from prism_core.rl.run import train_rl
    from prism_core.rl.spec import RlSpec
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
    from prism_core.rl.spec import RL_PRESETS, check_rl_spec

    given: dict[str, Any] = {
        name: getattr(args, name)
        for name in (
            "arm",
            "model",
            "name",
            "family",
            "level",
            "persona_share",
            "mixing",
            "steps",
            "prompts",
            "rollouts",
            "learning_rate",
            "temperature",
            "kl_weight",
            "rank",
            "held_out",
            "seed",
        )
    }
    given["use_vllm"] = args.vllm
    known = {key: value for key, value in given.items() if value is not None}
    return check_rl_spec(replace(RL_PRESETS[args.preset], **known))


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
