"""`python -m prism_core train`: PRISM from start to finish, or on with an interrupted run."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prism_core.cli.output import ProgressLine, clean_stdout, emit_json, whole
from prism_core.cli.run_folder import check_folder, open_store, run_of
from prism_core.cli.schema import add_fields, given_fields
from prism_core.prism.spec import PRESET_NAMES, PRESETS, TrainSpec, check_spec
from prism_core.progress import Progress
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


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser(
        "train", help="bootstrap, distil and gate an adapter", allow_abbrev=False
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", help="a new folder for the run")
    where.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    add = parser.add_argument
    add("--preset", choices=PRESET_NAMES, default="quick", help="settings (default: quick)")
    add("--personas", metavar="NAMES", help="separated by commas; see `personas`")
    low, high = range_of(TrainSpec, "queries_per_persona")
    add("--queries", type=whole(int(low), int(high)), metavar="N", help="queries for each persona")
    add_fields(parser, TrainSpec, _OPTIONS)
    add("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, saying on stderr how far it is."""
    from prism_core.prism.pipeline import train
    from prism_core.storage import pack, unpack
    from prism_core.storage.journal import StoreJournal

    folder = Path(args.resume or args.out).expanduser()
    check_folder(folder, resume=bool(args.resume))
    spec = None if args.resume else _spec(args)
    with open_store(folder) as store:
        row = run_of(store, "train", spec)
        spec = unpack(TrainSpec, dict(row.spec))
        with clean_stdout():
            result = train(spec, folder, StoreJournal(store, row.id), Progress(ProgressLine()))
    if args.json:
        emit_json(pack(result))
    else:
        print(_text(result, folder))
    return 0


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
