"""`python -m prism_core study`: plan, run, table, plot and export a study."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from prism_core.cli.output import ProgressLine, clean_stdout, emit_json, one_line
from prism_core.cli.run_folder import check_folder, last_run, open_store, run_of
from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.storage.folder_store import STORE_FILE

if TYPE_CHECKING:
    from prism_core.storage import RunRow, Store
    from prism_core.study.spec import StudySpec
    from prism_core.study.table import Study

STUDY_FILE = "study.parquet"
"""The finished study, beside its store."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser(
        "study", help="measure personas over tasks, and look at the result", allow_abbrev=False
    )
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=type(parser)
    )
    plan = actions.add_parser("plan", help="say what a study will do", allow_abbrev=False)
    plan.add_argument("spec", metavar="SPEC.yaml")
    plan.add_argument("--measure", action="store_true", help="measure the model's speed first")
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    plan.set_defaults(run=run_plan)
    run = actions.add_parser("run", help="run a study, or go on with it", allow_abbrev=False)
    run.add_argument("spec", metavar="SPEC.yaml")
    run.add_argument("--out", metavar="DIR", required=True, help="the study's folder")
    run.add_argument("--resume", action="store_true", help="go on with the study in that folder")
    run.add_argument("--json", action="store_true", help="print one JSON object")
    run.set_defaults(run=run_study)
    table = actions.add_parser("table", help="every effect with its interval", allow_abbrev=False)
    table.add_argument("study", metavar="DIR|FILE", help="a study's folder or .parquet file")
    table.add_argument("--json", action="store_true", help="print one JSON object")
    table.set_defaults(run=run_table)
    plot = actions.add_parser("plot", help="one figure as a web page", allow_abbrev=False)
    plot.add_argument("study", metavar="DIR|FILE", help="a study's folder or .parquet file")
    plot.add_argument("--figure", metavar="NAME", default="tradeoff", help="default: tradeoff")
    plot.add_argument("--html", metavar="FILE", required=True, help="where the page goes")
    plot.set_defaults(run=run_plot)
    export = actions.add_parser("export", help="one file of everything", allow_abbrev=False)
    export.add_argument("study", metavar="DIR|FILE", help="a study's folder or .parquet file")
    export.add_argument("file", metavar="FILE", help="ends in .parquet or .csv")
    export.set_defaults(run=run_export)


def run_plan(args: argparse.Namespace) -> int:
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
        return 0
    print(plan.sentence)
    for task in plan.tasks:
        print(f"{task.task}: {task.items} items")
        for category, seen in task.smallest.items():
            print(f"  {category}: n={seen.n}, shows effects from {seen.effect:.2f}")
    for note in plan.notes:
        print(one_line(note))
    return 0


def run_study(args: argparse.Namespace) -> int:
    """Run a study, saying on stderr how far it is."""
    from prism_core.progress import Progress
    from prism_core.study.file import save_study
    from prism_core.study.records import read_study
    from prism_core.study.run import StudyRun

    spec = read_spec(args.spec)
    folder = Path(args.out).expanduser()
    check_folder(folder, resume=args.resume, noun="study")
    with open_store(folder) as store:
        row = _row(store, spec, args.resume)
        with clean_stdout():
            StudyRun(row, store, Progress(ProgressLine())).run()
            study = read_study(store, row.id)
            save_study(study, folder / STUDY_FILE)
    if args.json:
        emit_json(_summary(study, folder))
    else:
        print(f"Finished: {len(study.rows):,} answers in {folder / STUDY_FILE}.")
        for note in study.notes:
            print(one_line(note))
    return 0


def run_table(args: argparse.Namespace) -> int:
    """Every effect with its interval."""
    from prism_core.analysis.summary import summarise, table_lines

    study = open_study(args.study)
    summary = summarise(study)
    if args.json:
        from prism_core.storage import pack

        emit_json(pack(summary))
    else:
        print("\n".join(table_lines(summary)))
    return 0


def run_plot(args: argparse.Namespace) -> int:
    """One figure as a web page that needs nothing else."""
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
    return 0


def run_export(args: argparse.Namespace) -> int:
    """One file of everything."""
    from prism_core.study.file import export_study

    target = export_study(open_study(args.study), Path(args.file).expanduser())
    print(f"{target} ({target.stat().st_size:,} bytes)")
    return 0


def read_spec(path: str) -> StudySpec:
    """The spec of a YAML file.

    Raises:
        NotFoundError: there is no such file.
        InputError: it is no spec.
    """
    from prism_core.study.spec import from_yaml

    file = Path(path).expanduser()
    if not file.is_file():
        raise NotFoundError(f"There is no spec at '{path[:200]}'.")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"'{file.name}' is no text in UTF-8.") from error
    return from_yaml(text)


def open_study(path: str) -> Study:
    """The study of a folder, finished or not, or of a file.

    Raises:
        NotFoundError: there is none.
        InputError: the file is no study.
    """
    from prism_core.study.file import load_study
    from prism_core.study.records import read_study

    place = Path(path).expanduser()
    if place.is_file():
        return load_study(place)
    if not (place / STORE_FILE).is_file():
        raise NotFoundError(f"There is no study at '{path[:200]}': no file, and no {STORE_FILE}.")
    with open_store(place) as store:
        return read_study(store, last_run(store, "study").id)


def _row(store: Store, spec: StudySpec, resume: bool) -> RunRow:
    """The study's run: the last one where the spec and its items are as they were, else a new one.

    A new run in an old store is cheap: every answer that still holds comes from the cache.
    """
    from prism_core.storage import unpack
    from prism_core.study.records import StudyRecords
    from prism_core.study.resolve import items_of
    from prism_core.study.spec import StudySpec

    if resume:
        found = last_run(store, "study")
        kept = StudyRecords(store, found.id).items()
        if unpack(StudySpec, dict(found.spec)) == spec and kept in ({}, items_of(spec)):
            return found
    return run_of(store, "study", spec)


def _summary(study: Study, folder: Path) -> dict[str, object]:
    return {
        "folder": str(folder),
        "answers": len(study.rows),
        "cells": int(study.rows[["model", "cell"]].drop_duplicates().shape[0]),
        "notes": list(study.notes),
        "versions": dict(study.versions),
    }
