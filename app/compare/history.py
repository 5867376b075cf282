"""A visitor's comparisons and votes: values, their form in the browser, and exports.

The history lives in the visitor's browser alone. What comes back from there may have been tampered
with, so every entry is read field by field and dropped if it does not fit. Exports are built from
the entries; a CSV cell that a spreadsheet would take for a formula gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.compare.form import ARMS
from app.compare.shown import Shown
from prism_core.utils.spreadsheet import safe_text

MAX_ENTRIES = 200
MAX_CHARACTERS = 1_500_000
"""Browsers keep about 5 MB a site; the oldest entries go first."""


@dataclass(frozen=True)
class HistoryArm:
    """One arm's answer."""

    arm: str
    """Which arm."""
    label: str
    """The arm's name as it was shown."""
    text: str
    """The answer."""
    tokens: int
    """Tokens in the answer."""
    seconds: float
    """Seconds from the start to the last token."""
    first_token_seconds: float | None
    """Seconds from the start to the first token."""
    finish: str
    """Why the answer ended."""


@dataclass(frozen=True)
class HistoryEntry:
    """One comparison, with its vote if there was one."""

    id: str
    """Unguessable; saving the same comparison again replaces it."""
    at: str
    """When it was asked for, in UTC."""
    model: str
    """Reference of the model."""
    question: str
    """What was asked."""
    persona: str
    """Name of the persona."""
    length: str
    """Which of the persona's texts was used."""
    placement: str
    """The turn that carried it."""
    control: str
    """Name of the control's persona."""
    adapter: str
    """Id of the PRISM arm's adapter; empty for none."""
    max_new_tokens: int
    """The longest answer allowed."""
    temperature: float
    """See `Sampling`."""
    top_p: float
    """See `Sampling`."""
    top_k: int
    """See `Sampling`."""
    repetition_penalty: float
    """See `Sampling`."""
    seed: int
    """The seed of every arm."""
    blind: bool
    """Whether the arms were hidden until the vote."""
    vote: str | None
    """The preferred arm, `none` for no preference, None where no vote was asked."""
    arms: tuple[HistoryArm, ...]
    """The answers."""


def entry_of(shown: Shown) -> HistoryEntry:
    """The history entry of what is on the screen."""
    order = shown.order
    chosen = order.selection
    return HistoryEntry(
        id=order.id,
        at=order.at,
        model=chosen.model,
        question=chosen.question,
        persona=chosen.persona,
        length=chosen.length,
        placement=chosen.placement,
        control=chosen.control,
        adapter=chosen.adapter,
        **asdict(chosen.sampling),
        seed=chosen.seed,
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
    """The entries that a browser kept; whatever does not fit is left out."""
    entries = []
    for data in stored[-MAX_ENTRIES:] if isinstance(stored, list) else []:
        entry = _read_entry(data)
        if entry is not None:
            entries.append(entry)
    return entries


def write_history(entries: Sequence[HistoryEntry]) -> list[dict[str, Any]]:
    """The form in which a browser keeps the entries: newest last, within its limits."""
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
    """The entries with one more; an earlier state of the same comparison is replaced."""
    for place, old in enumerate(entries):
        if old.id == entry.id:
            return [*entries[:place], entry, *entries[place + 1 :]]
    return [*entries, entry]


def merge_histories(
    own: Sequence[HistoryEntry], heard: Sequence[HistoryEntry]
) -> list[HistoryEntry]:
    """One tab's entries and what another has just saved, oldest first; the newer state counts."""
    whole = {e.id: e for e in own} | {e.id: e for e in heard}
    return sorted(whole.values(), key=lambda e: e.at)


def to_csv(entries: Iterable[HistoryEntry]) -> str:
    """One row an answer, safe to open in a spreadsheet."""
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
    """One comparison a line, exactly as it was."""
    return _lines(asdict(entry) for entry in entries)


def preference_pairs(entries: Iterable[HistoryEntry]) -> str:
    """Blind votes as JSONL for preference training: prompt, chosen, rejected.

    The preferred answer is paired with each other answer that has a different text. A vote for
    nothing gives no pair.
    """
    pairs = []
    for entry in entries:
        texts = {a.arm: a.text.strip() for a in entry.arms}
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


def _read_entry(data: object) -> HistoryEntry | None:
    if not isinstance(data, dict) or set(data) != set(HistoryEntry.__dataclass_fields__):
        return None
    arms = [_read_arm(a) for a in data["arms"]] if isinstance(data["arms"], list) else [None]
    if not all(isinstance(data[n], kinds) for n, kinds in _ENTRY_KINDS.items()):
        return None
    if len(arms) > len(ARMS) or any(a is None for a in arms):
        return None
    if data["vote"] not in (None, "none", *ARMS):
        return None
    entry = HistoryEntry(**{**data, "arms": ()})
    return replace(entry, arms=tuple(a for a in arms if a is not None))


def _read_arm(data: object) -> HistoryArm | None:
    if not isinstance(data, dict) or set(data) != set(HistoryArm.__dataclass_fields__):
        return None
    if data["arm"] not in ARMS:
        return None
    if not all(isinstance(data[n], kinds) for n, kinds in _ARM_KINDS.items()):
        return None
    return HistoryArm(**data)


_TEXTS = (
    *("id", "at", "model", "question", "persona", "length", "placement", "control", "adapter"),
)
_NUMBERS = ("max_new_tokens", "temperature", "top_p", "top_k", "repetition_penalty", "seed")
_ENTRY_KINDS: dict[str, tuple[type, ...]] = {
    **{n: (str,) for n in _TEXTS},
    **{n: (int, float) for n in _NUMBERS},
    "blind": (bool,),
    "vote": (str, type(None)),
}
_ARM_KINDS: dict[str, tuple[type, ...]] = {
    **{n: (str,) for n in ("arm", "label", "text", "finish")},
    **{n: (int, float) for n in ("tokens", "seconds")},
    "first_token_seconds": (int, float, type(None)),
}
