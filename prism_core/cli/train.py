"""`prism train`: PRISM from start to finish, or on with an interrupted run."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prism_core.cli.options import add_fields, add_training, given_fields, whole
from prism_core.cli.output import emit_json
from prism_core.cli.run_folder import train_in_folder
from prism_core.prism.spec import PRESET_NAMES, PRESETS, TrainSpec, check_spec
from prism_core.storage.folder_store import check_folder
from prism_core.utils.validation import range_of

if TYPE_CHECKING:
    from prism_core.prism.pipeline import TrainResult


_OPTIONS = {
    "model": "a model's reference, see `models` (default: embedded)",
    "name": "the adapter's name",
    "answer_tokens": "the most tokens of an answer",
    "judge": "who compares the answers",
    "epochs": "passes over the distil set",
    "rank": "LoRA rank",
    "rounds": "how often stages 2-5 are done",
    "seed": "seed of everything random",
}
"""The fields of a spec that can be given one by one, with their help."""


HELP = "bootstrap, distil and gate an adapter"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    add_training(parser, PRESET_NAMES)
    add = parser.add_argument
    add("--personas", metavar="NAMES", help="separated by commas; see `personas`")
    low, high = range_of(TrainSpec, "queries_per_persona")
    add("--queries", type=whole(int(low), int(high)), metavar="N", help="queries for each persona")
    add_fields(parser, TrainSpec, _OPTIONS)


def run(args: argparse.Namespace) -> None:
    """Train, saying on stderr how far it is."""
    from prism_core.prism.pipeline import train
    from prism_core.storage import pack

    folder = Path(args.resume or args.out).expanduser()
    check_folder(folder, "train", resume=bool(args.resume))
    spec = None if args.resume else _spec(args)
    result = train_in_folder(folder, "train", spec, TrainSpec, train)
    if args.json:
        emit_json(pack(result))
    else:
        print(_text(result, folder))


def _spec(args: argparse.Namespace) -> TrainSpec:
    given = given_fields(args, _OPTIONS)
    if args.queries is not None:
        given["queries_per_persona"] = args.queries
    if args.personas:
        given["personas"] = tuple(n.strip() for n in args.personas.split(",") if n.strip())
    return check_spec(replace(PRESETS[args.preset], **given))


def _text(result: TrainResult, folder: Path) -> str:
    lines = [f"Finished after {result.seconds:.0f} s."]
    if result.info is not None:
        lines.append(
            f"Adapter '{result.info.name}' in {folder / 'adapter'}, gate opens at "
            f"{result.info.threshold:.2f}."
        )
        lines += [f"  {name}: {value}" for name, value in result.info.metrics.items()]
    return "\n".join([*lines, *result.notes])
