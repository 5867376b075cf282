"""`prism study`: plan, run, table, plot and export a study."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prism_core.cli.output import ProgressLine, clean_stdout, emit_json, one_line
from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.storage.folder_store import STORE_FILE, check_folder, last_run, open_folder

if TYPE_CHECKING:
    from prism_core.study.spec import StudySpec
    from prism_core.study.table import Study


HELP = "measure personas over tasks, and look at the result"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command's actions to argparse."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=type(parser)
    )

    def action(name: str, text: str, act: Callable[[argparse.Namespace], None]) -> Any:
        own = actions.add_parser(name, help=text, allow_abbrev=False)
        own.set_defaults(act=act)
        return own.add_argument

    opened = {"metavar": "DIR|FILE", "help": "a study's folder or .parquet file"}
    as_json = {"action": "store_true", "help": "print one JSON object"}
    add = action("plan", "say what a study will do", run_plan)
    add("spec", metavar="SPEC.yaml")
    add("--measure", action="store_true", help="measure the model's speed first")
    add("--json", **as_json)
    add = action("run", "run a study, or go on with it", run_study)
    add("spec", metavar="SPEC.yaml")
    add("--out", metavar="DIR", required=True, help="the study's folder")
    add("--resume", action="store_true", help="go on with the study in that folder")
    add("--json", **as_json)
    add = action("table", "every effect with its interval", run_table)
    add("study", **opened)
    add("--json", **as_json)
    add = action("plot", "one figure as a web page", run_plot)
    add("study", **opened)
    add("--figure", metavar="NAME", default="tradeoff", help="default: tradeoff")
    add("--html", metavar="FILE", required=True, help="where the page goes")
    add = action("export", "one file of everything", run_export)
    add("study", **opened)
    add("file", metavar="FILE", help="ends in .parquet or .csv")


def run(args: argparse.Namespace) -> None:
    """Do what the action says."""
    args.act(args)


def run_plan(args: argparse.Namespace) -> None:
    """Say what a study will do."""
    from prism_core.storage import pack
    from prism_core.study.plan import plan_study

    spec = read_spec(args.spec)
    probe = None
    if args.measure:
        from prism_core.models.local import LocalModel
        from prism_core.prism.speed_probe import probe_speed

        with clean_stdout():
            probe = probe_speed(LocalModel.load(spec.models[0]))
    plan = plan_study(spec, probe)
    if args.json:
        emit_json({**pack(plan), "sentence": plan.sentence})
        return
    print(plan.sentence)
    for task in plan.tasks:
        print(f"{task.task}: {task.items} items")
        for category, seen in task.smallest.items():
            print(f"  {category}: n={seen.n}, smallest effect: {seen.words}")
    for note in plan.notes:
        print(one_line(note))


def run_study(args: argparse.Namespace) -> None:
    """Run a study, saying on stderr how far it is."""
    from prism_core.progress import Progress
    from prism_core.study import run as study_run

    spec = read_spec(args.spec)
    folder = Path(args.out).expanduser()
    check_folder(folder, "study", resume=args.resume)
    if args.resume:
        with open_folder(folder) as store:
            last_run(store, "study")  # refuses the folder of another kind of run
    with clean_stdout():
        study = study_run.run_study(spec, folder, progress=Progress(ProgressLine()))
    if args.json:
        emit_json(_summary(study, folder))
    else:
        print(f"Finished: {len(study.rows):,} answers in {folder / study_run.STUDY_FILE}.")
        for note in study.notes:
            print(one_line(note))


def run_table(args: argparse.Namespace) -> None:
    """Print every effect with its interval."""
    from prism_core.analysis.summary import summarise, table_lines

    study = open_study(args.study)
    summary = summarise(study)
    if args.json:
        from prism_core.storage import pack

        emit_json(pack(summary))
    else:
        print("\n".join(table_lines(summary)))


def run_plot(args: argparse.Namespace) -> None:
    """Write one figure as a web page that needs nothing else."""
    from prism_core.figures import find_figure

    find_figure(args.figure)  # a wrong name is said before anything is loaded
    target = Path(args.html).expanduser()
    study = open_study(args.study)
    made = find_figure(args.figure)(study)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(made.figure.to_html(include_plotlyjs=True), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"'{target}' cannot be written: {error.strerror}.") from error
    print(one_line(made.reading))


def run_export(args: argparse.Namespace) -> None:
    """Write one file of everything."""
    from prism_core.study.file import export_study

    target = export_study(open_study(args.study), Path(args.file).expanduser())
    print(f"{target} ({target.stat().st_size:,} bytes)")


def read_spec(path: str) -> StudySpec:
    """Read the spec of a YAML file.

    Raises:
        NotFoundError: there is no such file.
        InputError: it is not a spec.
    """
    from prism_core.study.spec import from_yaml

    file = Path(path).expanduser()
    if not file.is_file():
        raise NotFoundError(f"There is no spec at '{path[:200]}'.")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"'{file.name}' is not a text in UTF-8.") from error
    return from_yaml(text)


def open_study(path: str) -> Study:
    """Open the study of a folder, finished or not, or of a file.

    Raises:
        NotFoundError: there is none.
        InputError: the file is not a study.
    """
    from prism_core.study.file import load_study
    from prism_core.study.records import read_study

    place = Path(path).expanduser()
    if place.is_file():
        return load_study(place)
    if not (place / STORE_FILE).is_file():
        raise NotFoundError(f"There is no study at '{path[:200]}': no file, and no {STORE_FILE}.")
    with open_folder(place) as store:
        return read_study(store, last_run(store, "study").id)


def _summary(study: Study, folder: Path) -> dict[str, object]:
    return {
        "folder": str(folder),
        "answers": len(study.rows),
        "cells": int(study.rows[["model", "cell"]].drop_duplicates().shape[0]),
        "notes": list(study.notes),
        "versions": dict(study.versions),
    }
