"""Explore on the page: items as cards, numbers as tables and files, the study itself."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import re
from typing import Any, Literal

import pandas as pd

from app.common.text import count, escape, notice
from app.explore.items import ItemEntry, ItemPage, ShownAnswer
from app.services.study_shelf import OpenStudy
from prism_core.analysis import View
from prism_core.analysis.domains import title_of
from prism_core.utils.spreadsheet import safe_text

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
_LONGEST_DIFF = 6_000
"""Longer answers are shown without marks: the comparison grows with the square of their length."""
BADGES = {
    "lost": ("px-lost", "Lost", "neutral right, this one wrong"),
    "gained": ("px-gained", "Gained", "neutral wrong or no better, this one right or better"),
    "same": ("px-same", "No flip", ""),
}


def items_panel(page: ItemPage, what: str, *, is_neutral: bool = False) -> str:
    """A page of entries under a line that counts them."""
    total = page.lost + page.gained + page.same
    if not total:
        return notice("info", "No answer lies behind this point under these filters.")
    counts = (
        f'<p class="px-lead"><b>{escape(what)}</b>: {count(total, "answered item")}'
        + ("" if is_neutral else f", {page.lost} lost, {page.gained} gained, {page.same} unchanged")
        + ".</p>"
    )
    if not page.total:
        return counts + notice("info", "None fits what you search for. Loosen the choice above.")
    line = f"{page.first + 1:,} to {page.first + len(page.entries):,} of {page.total:,}"
    cards = "".join(_card(e) for e in page.entries)
    return f'{counts}<p class="px-help">{line}</p><div class="px-pairs">{cards}</div>'


def _card(entry: ItemEntry) -> str:
    style, name, about = BADGES[entry.change]
    badge = (
        ""
        if entry.neutral is None
        else (f'<span class="px-route {style}" title="{about}">{name}</span>')
    )
    should = ""
    if entry.harmful is not None:
        should = " · should be refused" if entry.harmful else " · should not be refused"
    left, right = _texts(entry)
    sides = [] if entry.neutral is None else [_side("Neutral", entry.neutral, left)]
    sides.append(_side(entry.arm.title, entry.arm, right))
    return (
        f'<article class="px-pair"><header>{badge}<span class="px-detail">'
        f"{escape(title_of(entry.category))} · {escape(entry.task)} · {escape(entry.item)}{should}"
        f'</span></header><h3 dir="auto">{escape(entry.question)}</h3>{_choices(entry)}'
        f'<div class="px-diff">{"".join(sides)}</div></article>'
    )


def _texts(entry: ItemEntry) -> tuple[str, str]:
    """Both answers as HTML, with the words marked that only one of them has."""
    mine = entry.arm.text
    if entry.neutral is None:
        return "", escape(mine)
    theirs = entry.neutral.text
    if entry.choices or theirs == mine or len(theirs) + len(mine) > _LONGEST_DIFF:
        return escape(theirs), escape(mine)
    a, b = _WORDS.findall(theirs), _WORDS.findall(mine)
    codes = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    left = "".join(_piece(a[i1:i2], tag != "equal", "del") for tag, i1, i2, _, _ in codes)
    right = "".join(_piece(b[j1:j2], tag != "equal", "ins") for tag, _, _, j1, j2 in codes)
    return left, right


def _piece(words: list[str], changed: bool, tag: Literal["del", "ins"]) -> str:
    text = escape("".join(words))
    return f"<{tag}>{text}</{tag}>" if changed and text.strip() else text


def _choices(entry: ItemEntry) -> str:
    """The choices; the right one is marked."""
    try:
        choices = json.loads(entry.choices) if entry.choices else []
    except json.JSONDecodeError:
        return ""
    if not isinstance(choices, list) or not choices:
        return ""
    items = "".join(
        f"<li{' class=px-right' if i == entry.right else ''}>{escape(choice)}"
        f"{' <b>right</b>' if i == entry.right else ''}</li>"
        for i, choice in enumerate(choices)
    )
    return f'<ol class="px-choices" type="A">{items}</ol>'


def _side(title: str, answer: ShownAnswer, shown: str) -> str:
    others = "".join(
        f'<div class="px-text px-other" dir="auto">{escape(text) or "<i>empty</i>"}</div>'
        for text in answer.others
    )
    more = (
        f"<details class=px-told><summary>{count(len(answer.others), 'other answer')} of its "
        f"repeats</summary>{others}</details>"
        if others
        else ""
    )
    return (
        f"<div><h4>{escape(title)}</h4>"
        f'<div class="px-text" dir="auto">{shown or "<i>empty</i>"}</div>'
        f'<p class="px-facts-line">{_facts(answer)}</p>{more}</div>'
    )


def _facts(answer: ShownAnswer) -> str:
    parts = []
    if answer.accuracy is not None:
        parts.append(_right(answer))
    if answer.p_right is not None:
        parts.append(f"P(right) {answer.p_right:.2f}")
    if answer.alignment is not None:
        parts.append(f"alignment {answer.alignment:.2f}")
    if answer.preference is not None:
        parts.append(f"P(better than neutral) {answer.preference:.2f}")
    if answer.gate is not None:
        parts.append(f"gate {answer.gate:.2f}")
    if answer.repeats > 1:
        kinds = "always the same" if answer.different == 1 else f"{answer.different} different"
        parts.append(f"{answer.repeats} repeats, {kinds}")
    return " · ".join(parts)


def _right(answer: ShownAnswer) -> str:
    value = answer.accuracy or 0.0
    if value not in (0.0, 1.0):
        if answer.repeats > 1:
            return f"right in {value:.0%} of repeats"
        return f"accuracy {value:.2f}"
    return "right" if value else "wrong"


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
