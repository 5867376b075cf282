"""A visitor's history: through the browser and back, and out as files."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace

import gradio as gr
import pytest

from app.compare import history
from app.compare.composer import build_composer
from app.compare.form import FIELDS, Selection, values_of
from app.compare.history import (
    HistoryEntry,
    entry_of,
    merge_histories,
    preference_pairs,
    read_history,
    remember,
    to_csv,
    to_jsonl,
    write_history,
)
from app.compare.history_panel import HistoryHandlers, build_history
from app.compare.shown import Shown, new_order
from app.services.settings import Settings
from prism_core.compare.comparison import ArmAnswer
from prism_core.personas.library import load_personas
from prism_core.types import Completion

PERSONAS = load_personas()
TEXTS = {"neutral": "Plain.", "persona": "=cmd()", "control": "+1"}


def shown(question: str = "Why?", vote: str | None = None, blind: bool = False) -> Shown:
    selection = Selection(question=question)
    answers = tuple(
        ArmAnswer(
            arm,
            arm.title(),
            Completion(
                TEXTS[arm], tokens=3, first_token_seconds=0.12345, seconds=0.5, finish="stop"
            ),
            None,
        )
        for arm in selection.arms
    )
    order = new_order(selection, PERSONAS, blind=blind)
    return Shown(order, answers, "Model", "done", vote)


def entry(**changes: object) -> HistoryEntry:
    return replace(entry_of(shown()), **changes)


def handlers() -> HistoryHandlers:
    with gr.Blocks():
        composer = build_composer(Settings(), PERSONAS, ())
        return HistoryHandlers(build_history(), gr.BrowserState([]), composer, gr.HTML())


def test_an_entry_survives_the_browser() -> None:
    kept = [entry_of(shown("One?")), entry_of(shown("Two?", "persona", blind=True))]
    assert read_history(json.loads(json.dumps(write_history(kept)))) == kept


@pytest.mark.parametrize(
    "change",
    [
        {"question": 5},
        {"arms": "x"},
        {"arms": [{"arm": "neutral"}]},
        {"vote": "<b>"},
        {"blind": "yes"},
        {"extra": 1},
    ],
)
def test_what_was_tampered_with_is_left_out(change: dict[str, object]) -> None:
    good = asdict(entry())
    bad = {**json.loads(json.dumps(good)), **change}
    assert read_history([bad, json.loads(json.dumps(good)), None, 7]) == [
        replace(HistoryEntry(**{**good, "arms": entry().arms}))
    ]
    assert read_history({"not": "a list"}) == []


def test_saving_the_same_comparison_again_replaces_it() -> None:
    first, other = entry(), entry()
    voted = replace(first, vote="persona")
    assert remember(remember([first], other), voted) == [voted, other]


def test_two_tabs_are_merged_by_time_and_the_newer_state_counts() -> None:
    early, late = entry(id="a", at="2026-01-01T10:00:00"), entry(id="b", at="2026-01-01T10:05:00")
    voted = entry(id="a", at="2026-01-01T10:00:00", vote="neutral")
    assert merge_histories([late], [early]) == [early, late]
    assert merge_histories([early, late], [voted]) == [voted, late]


def test_what_another_tab_says_is_read_with_care() -> None:
    own, other = entry(id="a", at="1"), entry(id="b", at="2")
    stored = json.loads(json.dumps(write_history([own])))
    hear = handlers().hear
    assert hear(json.dumps(write_history([other])), stored) == write_history([own, other])
    assert hear(json.dumps([{"id": "forged"}]), stored) == write_history([own])
    assert hear("[]", stored) == [], "the other tab was cleared"
    assert hear("no JSON", stored) == gr.skip()


def test_a_row_brings_its_inputs_back() -> None:
    kept = [entry_of(shown("One?")), entry_of(shown("Two?"))]
    reopen = handlers()
    row = gr.SelectData(None, {"index": [1, 0], "value": ""})  # the latest stands first
    updates = reopen.reopen(json.loads(json.dumps(write_history(kept))), row)
    assert "Press Compare" in updates.pop(reopen.status)
    values = {name: updates.pop(getattr(reopen.composer, name)) for name in FIELDS}
    assert values == values_of(Selection(question="One?"))
    assert not updates


def test_the_oldest_entries_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry(id=str(i)) for i in range(history.MAX_ENTRIES + 5)]
    kept = write_history(entries)
    assert [kept[0]["id"], kept[-1]["id"]] == ["5", str(history.MAX_ENTRIES + 4)]
    size = len(json.dumps(kept[-1]))
    monkeypatch.setattr(history, "MAX_CHARACTERS", int(2.5 * size))
    assert [e["id"] for e in write_history(entries)] == ["203", "204"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=1"])
def test_csv_cells_are_no_formulas(text: str) -> None:
    [row] = csv.DictReader(io.StringIO(to_csv([entry(question=text, arms=entry().arms[:1])])))
    assert row["question"] == "'" + text
    assert row["text"] == "Plain."
    assert row["vote"] == ""


def test_csv_has_a_row_an_answer() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([entry()]))))
    assert [(r["arm"], r["text"]) for r in rows] == [
        ("neutral", "Plain."),
        ("persona", "'=cmd()"),
        ("control", "'+1"),
    ]
    assert rows[0]["first_token_seconds"] == "0.123"


def test_jsonl_keeps_everything_as_it_was() -> None:
    entries = [entry(question="Grüße\n=1"), entry()]
    lines = to_jsonl(entries).splitlines()
    assert read_history([json.loads(line) for line in lines]) == entries


def test_votes_become_preference_pairs() -> None:
    voted = entry_of(shown(vote="persona", blind=True))
    pairs = [json.loads(line) for line in preference_pairs([voted]).splitlines()]
    assert pairs == [
        {"prompt": "Why?", "chosen": "=cmd()", "rejected": "Plain."},
        {"prompt": "Why?", "chosen": "=cmd()", "rejected": "+1"},
    ]
    same = replace(voted.arms[0], text=" =cmd() ")
    assert len(preference_pairs([replace(voted, arms=(same, *voted.arms[1:]))]).splitlines()) == 1
    assert preference_pairs([entry_of(shown(vote="none", blind=True)), entry()]) == ""
