"""A visitor's comparisons and votes: values, their form in the browser, and exports.

The history lives in the visitor's browser alone. What comes back from there may have been tampered
with, so an entry that does not fit its types is dropped. Exports are built from
the entries; a CSV cell that a spreadsheet would take for a formula gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from app.compare.form import values_of
from app.compare.shown import Shown
from prism_core.compare.comparison import ARMS, ArmKind
from prism_core.errors import InputError
from prism_core.utils.spreadsheet import safe_text
from prism_core.utils.validation import build

MAX_ENTRIES = 200
MAX_CHARACTERS = 1_500_000
"""Browsers keep about 5 MB a site; the oldest entries go first."""


@dataclass(frozen=True)
class HistoryArm:
    """One arm's answer."""

    arm: ArmKind
    label: str
    text: str
    tokens: int
    seconds: float
    """From the start to the last token."""
    first_token_seconds: float | None
    finish: str


@dataclass(frozen=True)
class HistoryEntry:
    """One comparison, with its vote if there was one; the inputs are those of a `Selection`."""

    id: str
    """Unguessable; saving the same comparison again replaces it."""
    at: str
    """When it was asked for, in UTC."""
    model: str
    question: str
    persona: str
    length: str
    placement: str
    control: str
    adapter: str
    """Id of the PRISM arm's adapter; empty for none."""
    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    seed: int
    blind: bool
    """Whether the arms were hidden until the vote."""
    vote: ArmKind | Literal["none"] | None
    """The preferred arm, `none` for no preference, None where no vote was asked."""
    arms: Annotated[tuple[HistoryArm, ...], Field(max_length=len(ARMS))]


def entry_of(shown: Shown) -> HistoryEntry:
    """Return the history entry of what is on the screen."""
    order = shown.order
    inputs = values_of(order.selection) | {"adapter": order.selection.adapter}
    del inputs["arms"]
    return HistoryEntry(
        id=order.id,
        at=order.at,
        **inputs,
        blind=order.shuffle is not None,
        vote=shown.vote,
        arms=tuple(
            HistoryArm(
                arm=a.arm,
                label=a.label,
                text=a.completion.text,
                tokens=a.completion.tokens,
                seconds=round(a.completion.seconds, 3),
                first_token_seconds=_rounded(a.completion.first_token_seconds),
                finish=a.completion.finish,
            )
            for a in shown.answers
            if a.completion is not None
        ),
    )


def read_history(stored: object) -> list[HistoryEntry]:
    """Return the entries that a browser kept; whatever does not fit is left out."""
    entries = []
    for data in stored[-MAX_ENTRIES:] if isinstance(stored, list) else []:
        with suppress(InputError):
            entries.append(build(HistoryEntry, data))
    return entries


def write_history(entries: Sequence[HistoryEntry]) -> list[dict[str, Any]]:
    """Return what a browser keeps of the entries: newest last, within its limits."""
    kept: list[dict[str, Any]] = []
    room = MAX_CHARACTERS
    for entry in reversed(entries[-MAX_ENTRIES:]):
        data = asdict(entry)
        room -= len(json.dumps(data))
        if room < 0:
            break
        kept.append(data)
    return kept[::-1]


def remember(entries: Sequence[HistoryEntry], entry: HistoryEntry) -> list[HistoryEntry]:
    """Return the entries with one more; an earlier state of the same comparison is replaced."""
    for place, old in enumerate(entries):
        if old.id == entry.id:
            return [*entries[:place], entry, *entries[place + 1 :]]
    return [*entries, entry]


def merge_histories(
    own: Sequence[HistoryEntry], heard: Sequence[HistoryEntry]
) -> list[HistoryEntry]:
    """Join one tab's entries with what another saved, oldest first; the newer state counts."""
    whole = {e.id: e for e in own} | {e.id: e for e in heard}
    return sorted(whole.values(), key=lambda e: e.at)


def to_csv(entries: Iterable[HistoryEntry]) -> str:
    """Return one row for each answer, safe to open in a spreadsheet."""
    shared = [n for n in HistoryEntry.__dataclass_fields__ if n != "arms"]
    own = list(HistoryArm.__dataclass_fields__)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*shared, *own])
    for entry in entries:
        for arm in entry.arms:
            values = [getattr(entry, n) for n in shared] + [getattr(arm, n) for n in own]
            writer.writerow([_cell(v) for v in values])
    return out.getvalue()


def to_jsonl(entries: Iterable[HistoryEntry]) -> str:
    """Return one comparison a line, exactly as it was."""
    return _lines(asdict(entry) for entry in entries)


def preference_pairs(entries: Iterable[HistoryEntry]) -> str:
    """Return blind votes as JSONL for preference training: prompt, chosen, rejected.

    The preferred answer is paired with each other answer that has a different text. A vote for
    nothing gives no pair.
    """
    pairs = []
    for entry in entries:
        texts: dict[str, str] = {a.arm: a.text.strip() for a in entry.arms}
        chosen = texts.get(entry.vote or "", "")
        for arm, rejected in texts.items():
            if entry.blind and chosen and arm != entry.vote and rejected not in ("", chosen):
                pairs.append({"prompt": entry.question, "chosen": chosen, "rejected": rejected})
    return _lines(pairs)


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, str):
        return safe_text(value)
    return "" if value is None else value


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
