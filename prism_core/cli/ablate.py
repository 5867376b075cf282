"""`prism ablate`: an adapter against its baselines, as one table.

Given the folder of a run, the two ungated LoRAs are trained first, on what the run may learn from,
and every finished part stays in the run's store. Given a bundle alone, what needs the run is left
out of the table with the reason.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from prism_core.cli.adapter import find_bundle, open_base
from prism_core.cli.options import add_json, add_trained_adapter
from prism_core.cli.output import ProgressLine, clean_stdout, emit_json, printable
from prism_core.progress import Progress

if TYPE_CHECKING:
    from prism_core.prism.ablation.table import AblationCell, AblationColumn, AblationTable


HELP = "compare an adapter with its baselines"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    add_trained_adapter(parser)
    parser.add_argument(
        "--no-training", action="store_true", help="leave out ungated LoRAs not trained yet"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Compare, then print the table."""
    from prism_core.prism.ablation.ablate import ablate_bundle
    from prism_core.prism.past_run import run_home
    from prism_core.storage import pack

    bundle, info = find_bundle(args.adapter)
    home = run_home(Path(args.adapter).expanduser())
    with clean_stdout():
        progress = Progress(ProgressLine())
        if home is not None:
            table = _ablate_run(home, args, progress)
        else:
            table = ablate_bundle(bundle, open_base(info, args.model), progress)
    if args.json:
        emit_json({"adapter": info.name, "base": info.base.label, **pack(table)})
    else:
        print(printable(_text(table)))


def _ablate_run(home: Path, args: argparse.Namespace, progress: Progress) -> AblationTable:
    """Compare on the run's own held-out queries, its parts kept in the run's store."""
    from prism_core.prism.ablation.ablate import ablate_run, train_ungated
    from prism_core.prism.past_run import read_run
    from prism_core.prism.spec import TrainSpec
    from prism_core.storage import unpack
    from prism_core.storage.folder_store import last_run, open_folder
    from prism_core.storage.journal import StoreJournal

    with open_folder(home) as store:
        run = last_run(store, "train")
        spec = unpack(TrainSpec, dict(run.spec))
        journal = StoreJournal(store, run.id)
        past = read_run(spec, journal)
        _, info = find_bundle(str(home))
        model = open_base(info, args.model)
        if not args.no_training:
            train_ungated(spec, past.judged, past.held_out, home, model, journal, progress)
        return ablate_run(spec, past.judged, past.held_out, home, model, journal, progress)


def _text(table: AblationTable) -> str:
    """Return the table for a person to read: a block for each system."""
    blocks = [
        f"{table.queries} held-out queries, the persona wanted for {table.wanted}; "
        f"judge: {table.judge}. In brackets 95 % intervals."
    ]
    width = max(len(column.label) for column in table.columns)
    for row in table.rows:
        lines = [f"== {row.label} =="]
        lines += [
            f"{column.label:<{width}}  {_cell(column, row.cells[column.key])}"
            for column in table.columns
            if column.key in row.cells
        ]
        lines += [f"({row.note})"] if row.note else []
        blocks.append("\n".join(lines))
    rest = [f"{row.label}: {row.why}" for row in table.missing] + list(table.notes)
    return "\n\n".join([*blocks, *(["\n".join(rest)] if rest else [])])


def _cell(column: AblationColumn, cell: AblationCell) -> str:
    unit = f" {column.unit}" if column.unit else ""
    change = f"; against base {cell.change}" if cell.change else ""
    return f"{cell.estimate}{unit}{change}"
