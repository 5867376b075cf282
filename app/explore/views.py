"""Explore on the page: items as cards, numbers as tables and files, the study itself."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pandas as pd

from app.common.text import bullets, count, escape, fold, notice, word_diff
from app.explore.items import ItemEntry, ItemPage, ShownAnswer
from app.services.study_shelf import OpenStudy
from prism_core.analysis import Pick, View
from prism_core.analysis.domains import title_of
from prism_core.figures.colours import ARM_TITLES
from prism_core.utils.spreadsheet import safe_text

_LONGEST_DIFF = 6_000
"""Two answers longer than this many characters in sum are shown without marks; see `word_diff`."""
BADGES = {
    "lost": ("px-lost", "Lost", "neutral right, this one wrong"),
    "gained": ("px-gained", "Gained", "neutral wrong or no better, this one right or better"),
    "same": ("px-same", "No flip", ""),
}


def items_panel(page: ItemPage, what: str, *, is_neutral: bool = False) -> str:
    """Show a page of entries under a line that counts them."""
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
    should = ""
    if entry.harmful is not None:
        should = " · should be refused" if entry.harmful else " · should not be refused"
    left, right = _texts(entry)
    badge, sides = "", _side(entry.arm.title, entry.arm, right)
    if entry.neutral is not None:
        badge = f'<span class="px-route {style}" title="{about}">{name}</span>'
        sides = _side("Neutral", entry.neutral, left) + sides
    return (
        f'<article class="px-pair"><header>{badge}<span class="px-detail">'
        f"{escape(title_of(entry.category))} · {escape(entry.task)} · {escape(entry.item)}{should}"
        f'</span></header><h3 dir="auto">{escape(entry.question)}</h3>{_choices(entry)}'
        f'<div class="px-diff">{sides}</div></article>'
    )


def _texts(entry: ItemEntry) -> tuple[str, str]:
    """Return both answers as HTML; what is marked differs between them."""
    mine = entry.arm.text
    if entry.neutral is None:
        return "", escape(mine)
    theirs = entry.neutral.text
    if entry.choices or theirs == mine or len(theirs) + len(mine) > _LONGEST_DIFF:
        return escape(theirs), escape(mine)
    return word_diff(theirs, mine)


def _choices(entry: ItemEntry) -> str:
    """List the choices; the right one is marked."""
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
    more = fold(f"{count(len(answer.others), 'other answer')} of its repeats", others)
    return (
        f"<div><h4>{escape(title)}</h4>"
        f'<div class="px-text" dir="auto">{shown or "<i>empty</i>"}</div>'
        f'<p class="px-facts-line">{_facts(answer)}</p>{more}</div>'
    )


def _facts(answer: ShownAnswer) -> str:
    parts = [] if answer.accuracy is None else [_right(answer.accuracy, answer.repeats)]
    numbers = {
        "P(right)": answer.p_right,
        "alignment": answer.alignment,
        "P(better than neutral)": answer.preference,
        "gate": answer.gate,
    }
    parts += [f"{name} {value:.2f}" for name, value in numbers.items() if value is not None]
    if answer.repeats > 1:
        kinds = "always the same" if answer.different == 1 else f"{answer.different} different"
        parts.append(f"{answer.repeats} repeats, {kinds}")
    return " · ".join(parts)


def _right(accuracy: float, repeats: int) -> str:
    if accuracy in (0.0, 1.0):
        return "right" if accuracy else "wrong"
    return f"right in {accuracy:.0%} of repeats" if repeats > 1 else f"accuracy {accuracy:.2f}"


def shown_table(data: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers as a page shows them: three digits, nothing for what is not known."""
    return data.apply(lambda column: column.map(_shown)) if not data.empty else data


def _shown(value: Any) -> str:
    if _is_missing(value):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def csv_text(data: pd.DataFrame) -> str:
    """Return the numbers as CSV with all their digits, safe to open in a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out)
    for row in (data.columns, *data.itertuples(index=False)):
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if _is_missing(value):
        return ""
    return safe_text(value) if isinstance(value, str) else value


def about_panel(opened: OpenStudy) -> str:
    """Say what the study is, in one line, and what its reader should know."""
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
    partial = "This study is not finished: what you see rests on the answers so far."
    warn = "" if study.finished else notice("busy", partial)
    more = fold(f"{count(len(study.notes), 'note')} on how it was made", bullets(study.notes))
    return f'{warn}<p class="px-study-line">{line}</p>{more}'


def describe(pick: Pick) -> str:
    """Return a pick in words: `Math · persona · long text`."""
    who = ARM_TITLES.get(pick.arm, pick.arm)
    if pick.persona:
        who = title_of(pick.persona)
    elif pick.own:
        who = "own expert"
    elif pick.adapter or (pick.arm == "adapter" and pick.cell):
        who = pick.adapter or pick.cell
    parts = [
        title_of(pick.category) if pick.category else "All categories",
        who,
        pick.length and f"{pick.length} text",
        pick.placement and f"{pick.placement} turn",
        pick.model,
    ]
    return " · ".join(part for part in parts if part)


def left_line(view: View) -> str:
    """Say how much the filters leave."""
    answers = int(view.grid.repeats[view.rows][:, view.columns].sum())
    if answers == view.grid.answers:
        return f'<p class="px-help">Showing all {count(answers, "answer")}.</p>'
    share = f"{answers:,} of {view.grid.answers:,} answers"
    return (
        f'<p class="px-help">Showing {share}: {count(len(view.rows), "cell")}, '
        f"{count(int(view.columns.sum()), 'item')}. Neutral answers stay as the reference.</p>"
    )


def reading_panel(reading: str, note: str) -> str:
    """Return the sentence under a figure, and how the figure was made."""
    how = fold("How to read this figure", f"<p>{escape(note)}</p>" if note else "")
    return f'<p class="px-reading">{escape(reading)}</p>{how}'
