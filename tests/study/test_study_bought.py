"""A study at an endpoint: no answer is lost or bought twice, and money is kept within its limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from support.endpoint import Counted, endpoint_server, send_answer, send_error
from support.paths import ROOT
from support.study_parts import begin, small_tasks, store

from prism_core.errors import CancelledError, InputError, RemoteError, SpendingLimitError
from prism_core.models.buying.ledger import STAGE
from prism_core.progress import Progress, ProgressReport
from prism_core.storage import Store
from prism_core.study.records import StudyRecords, read_study
from prism_core.study.run import StudyRun
from prism_core.study.spec import StudySpec
from prism_core.study.table import Study

__all__ = ["small_tasks", "store"]
pytestmark = pytest.mark.usefixtures("small_tasks")
SPEC = StudySpec(
    tasks=("t_open", "t_safe"),
    personas=("math",),
    lengths=("min", "long"),
    models=("mock:m",),
    max_new_tokens=20,
    n_per_category=0,
)
# In 3 cells: 3 open and 2 safety items, one of which has a second turn.
REQUESTS = 3 * (3 + 2 + 1)
PAID = REQUESTS + 1
"""With the probe's first request."""
FILE = "mock:\n  base_url: {url}\n  retries: 0\n  prices:\n    m: {{input: 1, output: 10}}\n"


@pytest.fixture
def mock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    with endpoint_server() as counted:
        file = tmp_path / "endpoints.yaml"
        file.write_text(FILE.format(url=counted.url))
        monkeypatch.setenv("PRISM_ENDPOINTS", str(file))
        yield counted


def buy(
    store: Store, spec: StudySpec = SPEC, progress: Progress | None = None, row: Any = None
) -> tuple[StudyRun, Study]:
    row = row or begin(store, spec)
    study_run = StudyRun(row, store, progress or Progress())
    study_run.run()
    return study_run, read_study(store, row.id)


def test_every_request_is_sent_once_and_its_price_is_kept(store: Store, mock: Counted) -> None:
    done, study = buy(store)
    assert study.finished and len(study.rows) == 15
    assert set(mock.asked.values()) == {1} and sum(mock.asked.values()) == REQUESTS
    spent = done.purchases.ledger.spent()
    assert (spent.requests, spent.uncounted) == (REQUESTS + mock.probes, 0)
    # 40 tokens read at 1 and 10 written at 10 for a million: 140e-6 each.
    assert spent.cost == pytest.approx(PAID * 140e-6)
    assert study.rows["cost"].sum() == pytest.approx(REQUESTS * 140e-6)
    buy(store)
    assert sum(mock.asked.values()) == REQUESTS  # the second study comes from the cache


def test_a_storm_of_429s_is_waited_out_and_buys_nothing_twice(store: Store, mock: Counted) -> None:
    def storm(handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int) -> bool:
        if 4 <= number < 12:
            send_error(handler, 429, Retry_After="0.2")
        return 4 <= number < 12

    mock.trouble = storm
    notes: list[str] = []
    done, study = buy(store, progress=Progress(lambda report: notes.append(report.note)))
    assert study.finished and set(mock.answered.values()) == {1}
    assert sum(mock.asked.values()) == REQUESTS + 8
    spent = done.purchases.ledger.spent()
    # A refusal costs nothing.
    assert spent.cost == pytest.approx(PAID * 140e-6)
    assert any("Paused: 127.0.0.1" in note and "Asking again in" in note for note in notes)
    assert any(note.endswith("USD spent") for note in notes)


def test_a_broken_answer_is_asked_again_and_counts_as_spent(store: Store, mock: Counted) -> None:
    def cut(handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int) -> bool:
        if number == 3:
            send_answer(handler, "half", whole=False)
        return number == 3

    mock.trouble = cut
    done, study = buy(store)
    assert study.finished and set(mock.answered.values()) == {1}
    assert not study.rows["text"].str.contains("half").any()
    spent = done.purchases.ledger.spent()
    assert (spent.requests, spent.uncounted) == (REQUESTS + mock.probes + 1, 1)
    # The lost one stands at the most it can have cost: its prompt's bytes, and 20 tokens.
    assert (spent.cost or 0) > PAID * 140e-6 + 20 * 10e-6


def test_a_request_that_fails_for_ever_ends_in_a_sentence_and_keeps_the_others(
    store: Store, mock: Counted
) -> None:
    def fail(handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int) -> bool:
        if "2 + 2" in body["messages"][-1]["content"] and len(body["messages"]) == 1:
            send_error(handler, 500, Retry_After="0.01")
            return True
        return False

    mock.trouble = fail
    row = begin(store, replace(SPEC, retries=2))
    with pytest.raises(RemoteError, match=r"status 500.*says the mock.* It was asked 3 times"):
        buy(store, row=row)
    mock.trouble = lambda *_: False
    kept = sum(mock.answered.values())
    assert 0 < kept < REQUESTS
    _, study = buy(store, row=row)
    assert study.finished and set(mock.answered.values()) == {1}
    assert sum(mock.asked.values()) == REQUESTS + 3


def test_a_limit_is_not_passed_and_a_higher_one_buys_only_the_rest(
    store: Store, mock: Counted
) -> None:
    # A request may cost some 370e-6 at most, and costs 140e-6: a few fit behind the probe's.
    with pytest.raises(SpendingLimitError, match=r"limit of 0\.0020 USD is reached"):
        buy(store, replace(SPEC, most_cost=2e-3))
    bought = sum(mock.answered.values())
    assert 0 < bought < REQUESTS and (bought + 1) * 140e-6 <= 2e-3
    _, study = buy(store, replace(SPEC, most_cost=1.0))
    assert study.finished and set(mock.asked.values()) == {1}


def test_a_limit_needs_a_price(store: Store, mock: Counted) -> None:
    spec = replace(SPEC, models=("mock:other",), most_cost=1.0)
    with pytest.raises(InputError, match="price of 'mock:other' is not known"):
        buy(store, spec)
    assert not mock.asked
    done, study = buy(store, replace(spec, most_cost=None))
    assert done.purchases.ledger.spent().cost is None and study.finished


def test_a_conversation_goes_on_after_the_turn_that_was_paid(store: Store, mock: Counted) -> None:
    def stop(handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int) -> bool:
        if len(body["messages"]) > 2 and body["messages"][-2]["role"] == "assistant":
            send_error(handler, 401)
            return True
        return False

    mock.trouble = stop
    row = begin(store, SPEC)
    with pytest.raises(RemoteError, match="refused the key"):
        buy(store, row=row)
    mock.trouble = lambda *_: False
    first = [text for text in mock.answered if text.endswith("Say hello.")]
    assert first
    buy(store, row=row)
    assert set(mock.answered.values()) == {1}


def test_what_is_under_way_at_a_cancel_counts_as_spent(store: Store, mock: Counted) -> None:
    mock.seconds = 0.4
    progress = Progress(lambda report: stop(report))

    def stop(report: ProgressReport) -> None:
        if report.done:
            progress.cancel.set()

    row = begin(store, replace(SPEC, concurrency=4))
    start = time.monotonic()
    with pytest.raises(CancelledError):
        buy(store, progress=progress, row=row)
    assert time.monotonic() - start < 2.4
    entries = store.get_records(row.id, STAGE).values()
    assert sum(not one["counted"] for one in entries) <= 4
    kept = len(StudyRecords(store, row.id).answer_keys())
    assert 0 < kept < 15
    time.sleep(0.5)  # the mock ends what it was asked
    before = mock.answered.copy()
    buy(store, row=row)
    again = sum((mock.answered - before).values())
    assert again <= REQUESTS - kept


def test_two_judges_at_the_endpoint_are_tried_first_and_their_agreement_is_said(
    store: Store, mock: Counted
) -> None:
    """One judge likes the first answer, the other the one that has the persona's text in it."""
    order: list[str] = []

    def speak(handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int) -> bool:
        text = body["messages"][-1]["content"]
        is_judged = "Reply with the single letter A or B" in text
        order.append("judge" if is_judged else "answer")
        if is_judged:
            first = text.partition("Answer B:")[0]
            likes_first = body["model"] == "j1" or "mathematician" in first
            send_answer(handler, "A" if likes_first else "B")
        elif body["messages"][0]["role"] == "system":
            send_answer(handler, "a mathematician says so")
        else:
            send_answer(handler, "nobody says so")
        return True

    mock.trouble = speak
    spec = replace(SPEC, tasks=("t_open",), lengths=("min",), judges=("mock:j1", "mock:j2"))
    _, study = buy(store, spec)
    assert order.index("answer") > 2 * 2 * 10, "both judges are tried before anything is bought"
    persona = study.rows[study.rows["arm"] == "persona"]
    assert set(persona["preference"]) == {0.5} and set(persona["preference_2"]) == {1.0}
    notes = " ".join(study.notes)
    assert "j1 and j2 reach the same verdict on m's answers at a rate of 0.000" in notes
    assert "all or nothing" in notes and "Bought from endpoints" in notes
    before = len(order)
    buy(store, spec)
    assert len(order) == before


SPEC_YAML = """
name: Bought
tasks: [{{name: safety, n_per_category: 30}}]
personas: [math, critic]
lengths: [min, short]
max_new_tokens: 8
concurrency: 16
models: ['mock:m']
"""


def test_killed_and_resumed_buys_again_at_most_what_was_under_way(
    tmp_path: Path, mock: Counted
) -> None:
    """A real process, a real SIGKILL in the middle, and the command that goes on."""
    mock.seconds = 0.05
    spec, out = tmp_path / "spec.yaml", tmp_path / "out"
    spec.write_text(SPEC_YAML.format())
    command = [sys.executable, "-m", "prism_core", "study", "run", str(spec), "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while sum(mock.answered.values()) < 60 and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.2)
    sent = mock.answered.copy()
    with Store(f"sqlite:///{out}/run.sqlite3", home=out) as kept:
        row = kept.list_runs(kind="study")[0]
        committed = len(StudyRecords(kept, row.id).answer_keys())
        open_ones = [one for one in kept.get_records(row.id, STAGE).values() if not one["counted"]]
    # Whatever is not committed was under way, and under way are 16 at the most.
    assert sum(sent.values()) - committed <= 16 and len(open_ones) <= 16
    subprocess.run([*command, "--resume"], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    total = 5 * 60
    assert len(mock.answered) == total
    assert sum(mock.asked.values()) <= total + 16
    with Store(f"sqlite:///{out}/run.sqlite3", home=out) as kept:
        entries = kept.get_records(row.id, STAGE).values()
    # A reservation may be on the disk and its request not yet sent: it counts as spent too.
    assert 0 <= len(entries) - mock.probes - sum(mock.asked.values()) <= len(open_ones)
    assert sum(not one["counted"] for one in entries) == len(open_ones)
