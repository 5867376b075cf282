"""`prism store`: copy the store, look for damage, throw away what is old."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prism_core.cli.output import ProgressLine, emit_json, one_line
from prism_core.errors import NotFoundError, StorageError

if TYPE_CHECKING:
    from prism_core.storage import Store

HELP = "back up, check or prune what is kept"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command's actions to argparse."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=type(parser)
    )

    def action(name: str, text: str, act: Callable[[argparse.Namespace], None]) -> Any:
        own = actions.add_parser(name, help=text, allow_abbrev=False)
        own.set_defaults(act=act)
        own.add_argument("--home", metavar="DIR", help="the store's folder (PRISM_DATA_HOME)")
        own.add_argument("--json", action="store_true", help="print one JSON object")
        return own.add_argument

    add = action("backup", "copy the store into a new folder, also while it is in use", run_backup)
    add("folder", metavar="FOLDER")
    action("check", "read every row and say what is damaged", run_check)
    add = action("prune", "remove what is old, and what killed processes left", run_prune)
    add("--runs-older", type=float, metavar="DAYS", help="ended runs, with their folders")
    add("--answers-older", type=float, metavar="DAYS", help="cached answers")
    add("--dry-run", action="store_true", help="only count")


def run(args: argparse.Namespace) -> None:
    """Do what the action says."""
    args.act(args)


def run_backup(args: argparse.Namespace) -> None:
    """Copy the store."""
    from prism_core.progress import Progress
    from prism_core.storage.upkeep import backup

    with _open(args.home) as store:
        made = backup(store, Path(args.folder), Progress(ProgressLine()))
    if args.json:
        emit_json(asdict(made))
        return
    print(f"{made.files} files, {made.size / 1e6:.1f} MB, are in {one_line(made.folder)}.")


def run_check(args: argparse.Namespace) -> None:
    """Read every row; fail where one is damaged."""
    from prism_core.storage.upkeep import check_store

    with _open(args.home) as store:
        report, label = check_store(store), store.label
    if args.json:
        emit_json(asdict(report))
    else:
        print(f"{report.runs} runs, {report.records} records, {report.answers} cached answers.")
        print("\n".join(one_line(problem) for problem in report.problems) or "All can be read.")
        if report.leftovers:
            print(f"{report.leftovers} leftovers of killed processes; `prism store prune` helps.")
    if report.problems:
        raise StorageError(f"{len(report.problems)} problems in {label}.")


def run_prune(args: argparse.Namespace) -> None:
    """Remove what is old."""
    from prism_core.storage.upkeep import prune

    with _open(args.home) as store:
        gone = prune(store, args.runs_older, args.answers_older, dry_run=args.dry_run)
    if args.json:
        emit_json({**asdict(gone), "dry_run": args.dry_run})
        return
    verb = "Would remove" if args.dry_run else "Removed"
    print(
        f"{verb} {gone.runs} runs, {gone.answers} cached answers and {gone.leftovers} leftovers: "
        f"{gone.size / 1e6:.1f} MB of files."
    )


def _open(home: str | None) -> Store:
    """Open a store that exists; looking at nothing must not make one."""
    import os

    from prism_core.storage import Store, data_dir

    folder = Path(home).expanduser().absolute() if home else data_dir()
    if (
        not (home is None and os.environ.get("PRISM_DATABASE_URL"))
        and not (folder / "prism.sqlite3").is_file()
    ):
        raise NotFoundError(f"There is no store in '{folder}': it has no prism.sqlite3.")
    return Store(f"sqlite:///{folder / 'prism.sqlite3'}" if home else None, home=folder)
