"""`prism fidelity`: can a model be the characters that it is asked to be?"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from prism_core.cli.adapter import open_ungated
from prism_core.cli.options import add_robustness, whole
from prism_core.cli.output import ProgressLine, clean_stdout, emit_json, open_model
from prism_core.errors import InputError
from prism_core.progress import Progress

if TYPE_CHECKING:
    from prism_core.robustness.fidelity import Fidelity
    from prism_core.robustness.persona_gym import GymPersona


HELP = "measure how well a model keeps to a character"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    add_robustness(parser)
    add = parser.add_argument
    add("--judge", metavar="REF", help="who scores (default: the model without the adapter)")
    add(
        "--questions",
        choices=("own", "public"),
        default="own",
        help="ours, or PersonaGym's from PRISM_DATA_DIR (default: own)",
    )
    add("--personas", type=whole(1, 200), default=4, metavar="N", help="how many public personas")
    add("--tokens", type=whole(8, 1024), default=48, metavar="N", help="the most tokens an answer")


def run(args: argparse.Namespace) -> None:
    """Measure, saying on stderr how far it is."""
    from prism_core.prism.gating.gated_model import GatedModel
    from prism_core.robustness.fidelity import FidelityConfig, measure_fidelity
    from prism_core.robustness.points import keep_point
    from prism_core.storage import pack

    personas = _personas(args)
    with clean_stdout():
        model = open_ungated(args.model, args.adapter)
        base = model.base if isinstance(model, GatedModel) else model
        judge = open_model(args.judge) if args.judge else base
        config = FidelityConfig(tokens=args.tokens, seed=args.seed)
        found = measure_fidelity(config, model, judge, personas, Progress(ProgressLine()))
    if args.keep:
        score, markers = found.persona_score, found.markers
        keep_point(args.keep, found.model, fidelity=score, markers=markers, judge=found.judge)
    if args.json:
        emit_json(pack(found))
    else:
        print(_text(found))


def _personas(args: argparse.Namespace) -> tuple[GymPersona, ...]:
    from prism_core.robustness.persona_gym import own_personas, public_personas

    if args.questions == "own":
        return own_personas()
    folder = os.environ.get("PRISM_DATA_DIR", "")
    if not folder:
        raise InputError("Set PRISM_DATA_DIR to the folder that holds 'personagym/questions'.")
    return public_personas(Path(folder).expanduser(), args.personas, args.seed)


def _text(found: Fidelity) -> str:
    lines = [f"{found.model}, judged by {found.judge}"]
    lines.append(f"  PersonaScore (1-5)      {found.persona_score}")
    lines += [f"  {task:<23} {score}" for task, score in found.tasks.items()]
    lines.append(f"  own words appear        {found.markers}")
    lines.append(f"  more than without it    {found.markers_gain}")
    return "\n".join(lines)
