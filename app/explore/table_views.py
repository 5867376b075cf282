"""Numbers of a figure as a table on the page and as a file, and what stands above the figures."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pandas as pd

from app.common.text import count, escape, notice
from app.services.study_shelf import OpenStudy
from prism_core.figures import View
from prism_core.utils.spreadsheet import safe_text

_COUNTS = ("items", "answers", "repeats", "personas", "k")


def shown_table(data: pd.DataFrame) -> pd.DataFrame:
    """The numbers as a page shows them: three digits, nothing for what is not known."""
    return data.apply(lambda column: column.map(_shown)) if not data.empty else data


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


def csv_text(data: pd.DataFrame) -> str:
    """The numbers as CSV with all their digits, safe to open in a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([_cell(name) for name in data.columns])
    for row in data.itertuples(index=False):
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return safe_text(value) if isinstance(value, str) else value


def about_panel(opened: OpenStudy) -> str:
    """What the study is, in one line, and what its reader should know."""
    study, grid = opened.study, opened.grid
    models = list(dict.fromkeys(grid.cells["model"]))
    facts = [
        count(grid.answers, "answer"),
        count(len(grid.cells), "cell"),
        count(len(grid.items), "item"),
        "model " + ", ".join(models[:4]) if len(models) < 5 else count(len(models), "model"),
    ]
    if study.created:
        facts.append(f"begun {study.created[:10]}")
    line = " · ".join(escape(f) for f in facts)
    warn = (
        ""
        if study.finished
        else notice("busy", "This study is not finished: what you see rests on the answers so far.")
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in study.notes)
    more = (
        f'<details class="px-told"><summary>{count(len(study.notes), "note")} on how it was made'
        f'</summary><ul class="px-notes">{notes}</ul></details>'
        if notes
        else ""
    )
    return f'{warn}<p class="px-study-line">{line}</p>{more}'


def left_line(view: View) -> str:
    """How much the filters leave."""
    answers = int(view.grid.repeats[view.rows][:, view.columns].sum())
    if answers == view.grid.answers:
        return f'<p class="px-help">Showing all {count(answers, "answer")}.</p>'
    share = f"{answers:,} of {view.grid.answers:,} answers"
    return (
        f'<p class="px-help">Showing {share}: {count(len(view.rows), "cell")}, '
        f"{count(int(view.columns.sum()), 'item')}. Neutral answers stay as the reference.</p>"
    )


def reading_panel(reading: str, note: str) -> str:
    """The sentence under a figure, and how the figure was made."""
    how = (
        f'<details class="px-told"><summary>How to read this figure</summary>'
        f"<p>{escape(note)}</p></details>"
        if note
        else ""
    )
    return f'<p class="px-reading">{escape(reading)}</p>{how}'
