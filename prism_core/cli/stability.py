"""`prism stability`: how steady a model's accuracy is over a pool of personas."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from prism_core.cli.adapter import open_ungated
from prism_core.cli.options import add_robustness, real, whole
from prism_core.cli.output import ProgressLine, clean_stdout, emit_json
from prism_core.progress import Progress

if TYPE_CHECKING:
    from prism_core.robustness.lottery import LotteryRow
    from prism_core.robustness.stability import Stability


HELP = "measure accuracy over a pool of personas"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    add_robustness(parser)
    add = parser.add_argument
    add("--family", default="needle", metavar="NAME", help="the tasks (default: needle)")
    add("--level", type=whole(0, 20), default=0, metavar="N", help="their difficulty (default: 0)")
    add("--items", type=whole(4, 2000), default=48, metavar="N", help="held-out questions")
    add("--temperature", type=real(0, 2), default=0.0, metavar="X", help="0 is greedy")
    add("--repeats", type=whole(1, 16), default=1, metavar="N", help="answers to each question")


def run(args: argparse.Namespace) -> None:
    """Measure, saying on stderr how far it is."""
    from prism_core.personas.pool import PARTS, load_pool
    from prism_core.rl.tasks import get_family
    from prism_core.robustness.lottery import persona_lottery
    from prism_core.robustness.persona_table import StabilityConfig, measure_table
    from prism_core.robustness.points import keep_point
    from prism_core.robustness.stability import measure
    from prism_core.storage import pack

    get_family(args.family)
    config = StabilityConfig(
        args.family, args.level, args.items, args.seed, args.temperature, args.repeats
    )
    with clean_stdout():
        model = open_ungated(args.model, args.adapter)
        table = measure_table(config, model, load_pool(), Progress(ProgressLine()))
        whole_pool = measure(table, seed=args.seed)
        parts = {part: measure(table, part, args.seed) for part in PARTS}
        lottery = persona_lottery(table, args.seed)
    if args.keep:
        keep_point(
            args.keep,
            table.model,
            stability=whole_pool.score,
            held_out=parts["held_out"].score,
            mean=whole_pool.mean,
            task=f"{args.family}, level {args.level}, {len(table.items)} questions",
        )
    if args.json:
        found: dict[str, Any] = {"config": config, "table": table, "all": whole_pool}
        emit_json(pack({**found, **parts, "lottery": lottery}))
    else:
        print(_text(table.model, whole_pool, parts["held_out"], lottery))


def _text(name: str, found: Stability, held_out: Stability, lottery: tuple[LotteryRow, ...]) -> str:
    lines = [
        f"{name}, {found.personas} personas",
        f"  stability score         {found.score}",
        f"  on held-out personas    {held_out.score}",
        f"  mean accuracy           {found.mean}",
        f"  worst persona           {found.worst} ({found.worst_name})",
        f"  best persona            {found.best} ({found.best_name})",
        f"  spread, best to worst   {found.spread}",
        f"  without a persona       {found.neutral}",
    ]
    for row in lottery:
        if row.k in (2, 4, len(lottery)):
            lines.append(
                f"  search of {row.k:2d}: {row.expected_best.value:.3f} where it chose, elsewhere "
                f"{row.searched}, gain {row.gain}, {row.questions} questions"
            )
    return "\n".join(lines)
