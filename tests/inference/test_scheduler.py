"""The engine: rows join and leave, owners share, and nobody is harmed by a neighbour.

The policy is tested on a batch that only counts; the texts on tiny models, by both paths.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
import torch
from support.engine_parts import (
    answers,
    by_library,
    finish,
    is_fused,
    random_lora,
    row_of,
    scheduler_of,
    submitted,
)
from support.tiny_models import tiny_model
from transformers import PreTrainedTokenizerBase

from prism_core.errors import ModelError
from prism_core.inference import backend, engine
from prism_core.inference.batch import DecodingBatch, Drawn
from prism_core.inference.cpu import fused_batch
from prism_core.inference.cpu.fused_batch import FusedBatch
from prism_core.inference.library_batch import LibraryBatch
from prism_core.inference.prefix_cache import PrefixCache
from prism_core.inference.rows import Row
from prism_core.inference.scheduler import MAX_ROWS, Job, Scheduler
from prism_core.lora.weights import LoraWeights
from prism_core.models.generator import Request, last_of
from prism_core.models.local import LocalModel
from prism_core.progress import Cancel
from prism_core.types import Completion, Message, Prompt, Sampling

PATIENCE = 20.0


class Pretend:
    """A batch that draws token 1 for every row at every step, and fails with a row it hates."""

    def __init__(self, joins: bool = True, hated: Row | None = None) -> None:
        self.rows: list[Row] = []
        self.joins, self.hated = joins, hated
        self.cancels: list[Cancel] = []

    @property
    def takes_more(self) -> bool:
        return self.joins or not self.rows

    def add(self, rows: Sequence[Row], cancel: Cancel = None) -> None:
        assert self.takes_more
        self.rows += rows
        self.cancels.append(cancel)

    def step(self) -> Drawn:
        if self.hated in self.rows:
            raise RuntimeError("no such row here\nand more that nobody needs to read")
        drawn = [(row, line) for row in self.rows if (line := row.take([1]))]
        self.rows = [row for row in self.rows if row.is_running]
        return drawn


class Desk:
    """A scheduler over such batches, and what it is doing."""

    def __init__(
        self, most_cells: int = 1_000_000, joins: bool = True, hated: Row | None = None
    ) -> None:
        self.made: list[Pretend] = []

        def make() -> Pretend:
            self.made.append(Pretend(joins, hated))
            return self.made[-1]

        self.scheduler = Scheduler(make, lambda _batch, _error: False, most_cells)

    def ask(
        self, owner: object, lengths: Sequence[int], prompt: int = 4, cancel: Cancel = None
    ) -> Job:
        return submitted(self.scheduler, [row_of([5] * prompt, n) for n in lengths], owner, cancel)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.scheduler.step()

    @property
    def running(self) -> list[Row]:
        return list(self.made[-1].rows) if self.made else []

    def of(self, job: Job) -> int:
        """How many of a job's rows are in the batch."""
        return sum(row in job.place for row in self.running)


def done(job: Job) -> int:
    return sum(not row.is_running for row in job.rows)


# Who decodes next.


def test_rows_join_a_running_batch_and_leave_it() -> None:
    desk = Desk()
    long = desk.ask("a", [9, 9])
    desk.steps(3)
    short = desk.ask("b", [2])
    desk.steps(1)
    assert [len(row.answer) for row in [*long.rows, *short.rows]] == [4, 4, 1]
    desk.steps(1)
    assert short.is_over and desk.of(short) == 0 and desk.of(long) == 2
    assert finish(desk.scheduler) == 9 - 5
    assert len(desk.made) == 1, "all of it was one batch"
    assert [len(row.answer) for row in long.rows] == [9, 9]


def test_news_tell_each_job_of_its_own_rows_in_order() -> None:
    desk = Desk()
    one, two = desk.ask("a", [2, 3]), desk.ask("b", [1])
    finish(desk.scheduler)
    told = [(n.grown, n.is_over) for n in one.tell()]
    # Row 1 is the longer one and so goes first; it is row 1 all the same.
    assert [dict(grown) for grown, _ in told] == [{0: 1, 1: 1}, {0: 2, 1: 2}, {1: 3}, {}]
    assert [over for _, over in told] == [False, False, False, True]
    assert [(n.grown, n.is_over) for n in two.tell()] == [(((0, 1),), False), ((), True)]


def test_where_rows_cannot_join_those_that_wait_form_the_next_batch() -> None:
    desk = Desk(joins=False)
    first = desk.ask("a", [3, 1])
    desk.steps(1)
    second, third = desk.ask("b", [2]), desk.ask("c", [2])
    desk.steps(2)
    assert first.is_over and not any(row.answer for row in [*second.rows, *third.rows])
    desk.steps(2)
    assert second.is_over and third.is_over, "they were decoded together"


def test_an_owner_of_three_does_not_wait_for_an_owner_of_a_hundred() -> None:
    # Eight rows fit: 4 + 6 tokens each, 80 cells.
    desk = Desk(most_cells=80)
    many = desk.ask("a", [6] * 100)
    desk.steps(1)
    few = desk.ask("b", [6] * 3)
    assert desk.of(many) == 8
    desk.steps(6)  # the first eight end, three of b and five of a take their place
    assert (desk.of(few), desk.of(many)) == (3, 5)
    desk.steps(5)
    assert few.is_over and done(many) == 8 + 5
    finish(desk.scheduler)
    assert done(many) == 100


def test_owners_share_evenly_whoever_has_more_jobs() -> None:
    desk = Desk(most_cells=80)
    jobs = {"a": [desk.ask("a", [6] * 50), desk.ask("a", [6] * 50)], "b": [desk.ask("b", [6] * 50)]}
    desk.steps(1)
    shares = {owner: sum(desk.of(job) for job in each) for owner, each in jobs.items()}
    assert shares == {"a": 4, "b": 4}


def test_one_owner_s_jobs_are_served_in_the_order_in_which_they_came() -> None:
    desk = Desk(most_cells=20)  # two rows of 4 + 6
    first, second = desk.ask("a", [6] * 2), desk.ask("a", [6] * 2)
    desk.steps(6)
    assert first.is_over and not any(row.answer for row in second.rows)


@pytest.mark.parametrize("joins", [True, False])
def test_all_rows_together_stay_within_their_cells(joins: bool) -> None:
    desk = Desk(most_cells=100, joins=joins)
    random = torch.Generator().manual_seed(0)
    for owner in range(12):
        lengths = torch.randint(1, 20, (8,), generator=random).tolist()
        desk.ask(owner % 5, lengths, prompt=int(torch.randint(1, 15, (1,), generator=random)))
    counts = []

    def look() -> None:
        needs = [row.need for row in desk.running if row.is_running]
        if needs:
            counts.append(len(needs))
            assert len(needs) * max(needs) <= 100, needs

    finish(desk.scheduler, look)
    assert max(counts) > 3


def test_a_row_larger_than_the_bound_is_decoded_by_itself() -> None:
    desk = Desk(most_cells=20)
    large, small = desk.ask("a", [50]), desk.ask("b", [5, 5])

    def look() -> None:
        assert not (desk.of(large) and desk.of(small))

    finish(desk.scheduler, look)
    assert large.is_over and small.is_over


def test_a_batch_has_a_most_of_rows() -> None:
    desk = Desk()
    desk.ask("a", [3] * (MAX_ROWS + 40))
    desk.steps(1)
    assert len(desk.running) == MAX_ROWS


def test_a_job_at_work_sends_more_only_once_a_part_of_the_batch_is_free() -> None:
    desk = Desk()
    # Ten rows end after three steps, far fewer than a quarter of the batch.
    at_work = desk.ask("a", [9] * (MAX_ROWS - 10) + [3] * 10 + [2] * 60)
    desk.steps(4)
    assert len(desk.running) == MAX_ROWS - 10
    late = desk.ask("b", [5])
    desk.steps(1)
    assert desk.of(late) == 1, "a newcomer does not wait for that"
    assert at_work.waiting
    finish(desk.scheduler)
    assert at_work.is_over


# Cancelling, closing, failing.


def test_a_cancelled_job_leaves_at_the_next_step_and_its_mates_stay() -> None:
    desk, cancel = Desk(), threading.Event()
    cut, kept = desk.ask("a", [9, 9], cancel=cancel), desk.ask("b", [9])
    desk.steps(3)
    cancel.set()
    desk.steps(1)
    assert [row.finish for row in cut.rows] == ["cancelled"] * 2
    assert [len(row.answer) for row in cut.rows] == [3, 3]
    assert desk.of(cut) == 0 and desk.of(kept) == 1
    assert [n.is_over for n in cut.tell()][-1]
    finish(desk.scheduler)
    assert (kept.rows[0].finish, len(kept.rows[0].answer)) == ("length", 9)


def test_what_waits_can_be_cancelled_before_it_begins() -> None:
    desk, cancel = Desk(most_cells=20), threading.Event()
    desk.ask("a", [6] * 2)
    desk.steps(1)
    waiting = desk.ask("b", [6] * 2, cancel=cancel)
    desk.steps(1)
    cancel.set()
    desk.steps(1)
    assert waiting.is_over and not any(row.answer for row in waiting.rows)


def test_reading_stops_once_all_that_is_read_is_unwanted() -> None:
    desk, cancels = Desk(), [threading.Event(), threading.Event()]
    for owner, cancel in enumerate(cancels):
        desk.ask(owner, [5], cancel=cancel)
    desk.steps(1)
    [reading] = desk.made[-1].cancels
    assert reading is not None and not reading.is_set()
    cancels[0].set()
    assert not reading.is_set(), "the other still waits for it"
    cancels[1].set()
    assert reading.is_set()


def test_a_row_that_its_caller_ended_leaves() -> None:
    desk = Desk()
    job = desk.ask("a", [9, 4])
    desk.steps(2)
    job.rows[0].finish = "stop"
    desk.steps(1)
    assert [len(row.answer) for row in job.rows] == [2, 3] and desk.of(job) == 1
    finish(desk.scheduler)
    assert [row.finish for row in job.rows] == ["stop", "length"]


@pytest.mark.parametrize("joins", [True, False])
def test_a_failing_job_never_harms_its_mates(joins: bool) -> None:
    bad = row_of([6, 6, 6], 9)
    desk = Desk(joins=joins, hated=bad)
    mates = [desk.ask(owner, [7, 5]) for owner in "abc"]
    desk.steps(2 if joins else 0)  # where rows can join, the others are at work already
    guilty = submitted(desk.scheduler, [row_of([6, 6, 6], 9), bad], "bad")
    late = desk.ask("late", [3])
    finish(desk.scheduler)
    with pytest.raises(ModelError, match=r"\(RuntimeError: no such row here\)"):
        list(guilty.tell())
    assert bad.finish == "cancelled"
    for job in [*mates, late]:
        assert [row.finish for row in job.rows] == ["length"] * len(job.rows)
        assert [len(row.answer) for row in job.rows] == [
            row.sampling.max_new_tokens for row in job.rows
        ]
        assert [n.error for n in job.tell()][-1] is None


def test_a_batch_that_cannot_be_made_is_told_to_who_asked() -> None:
    made: list[Pretend] = []

    def make() -> Pretend:
        made.append(Pretend())
        if len(made) == 1:
            raise MemoryError("no room")
        return made[-1]

    one = Scheduler(make, lambda _batch, _error: False, 100)
    first, second = submitted(one, [row_of([1], 2)]), submitted(one, [row_of([1], 2)])
    finish(one)
    with pytest.raises(ModelError, match="MemoryError: no room"):
        list(first.tell())
    assert [len(row.answer) for row in second.rows] == [2]


# The texts, by both paths.


@pytest.fixture(params=["fused", "library"])
def either(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerBase) -> LocalModel:
    model = tiny_model("llama", tokenizer, seed=6)
    model = model if request.param == "fused" else by_library(model)
    assert is_fused(model) is (request.param == "fused")
    return model


def different_rows(model: LocalModel) -> list[Row]:
    """Rows that have nothing in common: sampling, seed, adapter, lengths."""
    one, two = random_lora(model, seed=1), random_lora(model, 2, ["q_proj", "down_proj"])
    return [
        row_of([1, *range(30, 60)], 12),
        row_of([1, *range(30, 45)], 20, temperature=0.9, top_p=0.9, seed=3),
        row_of([1, *range(30, 60)], 9, temperature=1.2, top_k=20, seed=4, adapter=one),
        row_of([1, 2], 16, temperature=0.7, repetition_penalty=1.3, seed=3, adapter=two),
        row_of([1, *range(30, 60)], 12, adapter=one),
        row_of([1, *range(200, 330)], 5, temperature=0.9, top_p=0.9, seed=9),
    ]


def alone(model: LocalModel, row: Row) -> list[int]:
    """What the row is answered in a batch of its own, by an engine that has read nothing yet."""
    fresh = LocalModel(model.weights) if is_fused(model) else by_library(model)
    return answers(fresh, [row.prompt], row.sampling, [row.seed], [row.adapter])[0]


def test_rows_with_nothing_in_common_are_answered_as_each_alone(either: LocalModel) -> None:
    one, rows = scheduler_of(either), different_rows(either)
    submitted(one, rows)
    finish(one)
    assert [row.answer for row in rows] == [alone(either, row) for row in rows]
    assert len({tuple(row.answer[:5]) for row in rows}) == len(rows)


@torch.inference_mode()
def test_rows_that_join_later_are_answered_as_each_alone(either: LocalModel) -> None:
    one, rows = scheduler_of(either), different_rows(either)
    together = []
    for row in rows:
        submitted(one, [row])
        one.step()
        together.append(sum(r.is_running and bool(r.answer) for r in rows))
    finish(one)
    assert [row.answer for row in rows] == [alone(either, row) for row in rows]
    if is_fused(either):
        assert max(together) >= 3, "they did decode together"


@torch.inference_mode()
def test_a_cancel_in_the_middle_leaves_the_others_texts(either: LocalModel) -> None:
    one, rows = scheduler_of(either), different_rows(either)
    cancel = threading.Event()
    submitted(one, rows[:2], "a")
    submitted(one, rows[2:4], "b", cancel)
    submitted(one, rows[4:], "c")
    while not all(row.answer for row in rows):
        one.step()
    cancel.set()
    cut = [len(row.answer) for row in rows[2:4]]
    finish(one)
    assert [len(row.answer) for row in rows[2:4]] == cut
    assert [row.finish for row in rows[2:4]] == ["cancelled"] * 2
    for row in rows[:2] + rows[4:]:
        assert row.answer == alone(either, row)
    for row in rows[2:4]:
        assert row.answer == alone(either, row)[: len(row.answer)]


def random_row(random: Random, earlier: Sequence[Row], adapters: Sequence[Any]) -> Row:
    """A row that shares a beginning with others, or goes on from an earlier one's answer."""
    if earlier and random.random() < 0.25:
        ids = random.choice(earlier).ids
    else:
        ends = random.choice([1, 40, 70, 110])
        ids = [*range(20, 20 + ends), *range(300, 300 + random.randint(0, 20))]
    drawn = {"temperature": random.choice([0.7, 1.0]), "top_p": 0.95, "repetition_penalty": 1.2}
    more = drawn if random.random() < 0.5 else {}
    tokens, seed = random.choice([1, 2, 5, 12]), random.randint(0, 5)
    return row_of(ids, tokens, seed=seed, adapter=random.choice(adapters), **more)


@pytest.mark.parametrize("seed", range(2))
@torch.inference_mode()
def test_rows_that_come_and_go_in_any_order_are_answered_as_each_alone(
    either: LocalModel, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(fused_batch, "_PASS_TOKENS", [16, 512][seed])
    # Room for hardly two rows: what is known is forgotten all the time.
    either._backend._prefixes = PrefixCache(60_000)
    random, adapters = Random(seed), [None, random_lora(either, 1)]
    one, rows, cancels = scheduler_of(either, most_cells=1500), [], []
    for _ in range(16):
        new = [random_row(random, rows, adapters) for _ in range(random.randint(0, 4))]
        cancels.append(threading.Event())
        submitted(one, new, random.choice("abc"), cancels[-1])
        rows += new
        if random.random() < 0.2:
            random.choice(cancels).set()
        for _ in range(random.randint(0, 2)):
            one.step()
    finish(one)
    assert {row.finish for row in rows} == {"length", "cancelled"}
    library = by_library(either)
    for row in rows:
        [whole] = answers(library, [row.prompt], row.sampling, [row.seed], [row.adapter])
        assert row.answer == (whole if row.finish == "length" else whole[: len(row.answer)])


def fail_with(
    monkeypatch: pytest.MonkeyPatch, kind: type[Any], is_bad: Callable[[list[Row]], bool]
) -> list[int]:
    """Let the steps of a kind of batch fail; return how often they did."""
    failed: list[int] = []
    true_step = kind.step

    def step(self: DecodingBatch) -> Drawn:
        if is_bad([row for row in self.rows if row.is_running]):
            failed.append(len(self.rows))
            raise RuntimeError("private operator is gone")
        return true_step(self)  # type: ignore[no-any-return]

    monkeypatch.setattr(kind, "step", step)
    return failed


def test_the_library_takes_over_in_the_middle(
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = tiny_model("llama", tokenizer, seed=6)
    rows = different_rows(model)
    right = [alone(model, row) for row in rows]
    one = scheduler_of(model)
    jobs = [submitted(one, rows[:3]), submitted(one, rows[3:])]
    failed = fail_with(
        monkeypatch, FusedBatch, lambda running: sum(len(r.answer) for r in running) > 25
    )
    with caplog.at_level(logging.INFO):
        finish(one)
    assert len(failed) == 1 and failed[0] > 3, "once, with rows of both jobs in it"
    assert [row.answer for row in rows] == right
    assert [n.error for job in jobs for n in job.tell() if n.is_over] == [None, None]
    [record] = [r for r in caplog.records if r.name == backend.__name__]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "The fast CPU path failed (private operator is gone); the library's layers take over."
    )
    assert not is_fused(model), "it is not tried again"
    assert answers(model, [rows[0].prompt], rows[0].sampling) == right[:1]


def test_the_library_takes_over_where_the_fast_path_cannot_begin(
    tokenizer: PreTrainedTokenizerBase, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def batch(self, _prefixes: object) -> None:
            raise AttributeError("no such operator")

    weights = tiny_model("llama", tokenizer, seed=6).weights
    model = LocalModel(weights, fast=lambda _model: Broken())
    ids = [[1, 5, 6, 7], [1, 8]]
    with caplog.at_level(logging.INFO):
        said = [answers(model, ids, Sampling(max_new_tokens=6)) for _ in range(2)]
    assert said == [answers(LocalModel(weights), ids, Sampling(max_new_tokens=6))] * 2
    [record] = [r for r in caplog.records if r.name == backend.__name__]
    assert "no such operator" in record.getMessage()


def test_the_fast_path_can_be_switched_off(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tiny_model("llama", tokenizer, seed=6).weights
    assert is_fused(LocalModel(weights))
    fused = LocalModel(weights).generate([ask("Why?")], SHORT)[0].text
    monkeypatch.setenv("PRISM_FAST_CPU", "0")
    model = LocalModel(weights)
    assert not is_fused(model)
    assert model.generate([ask("Why?")], SHORT)[0].text == fused


# The engine: many threads, one model.

SHORT = Sampling(max_new_tokens=8)
LONG = Sampling(max_new_tokens=400)


def ask(text: str) -> Prompt:
    return (Message("user", text),)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.002)


def in_thread(work: Callable[[], Any]) -> Callable[[], Any]:
    """Start work; return what waits for its result, or raises its error."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((work(), None))
        except Exception as error:
            found.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join(PATIENCE)
        assert found, "it never came to an end"
        result, error = found[0]
        if error is not None:
            raise error
        return result

    return wait


def test_thirty_threads_are_answered_as_each_alone(either: LocalModel) -> None:
    adapters: list[LoraWeights | None] = [None, random_lora(either, 1), random_lora(either, 2)]
    asked = [
        Request(
            ask(f"Question {i}: " + "and why? " * (i % 7)),
            Sampling(max_new_tokens=4 + i % 9, temperature=(i % 4) * 0.4, top_p=0.95),
            seed=i,
            adapter=adapters[i % 3],
            owner=f"visitor {i % 10}",
        )
        for i in range(30)
    ]
    fresh = LocalModel(either.weights) if is_fused(either) else by_library(either)
    right = [last_of(fresh.answer([request]))[0] for request in asked]
    begin = threading.Barrier(30)

    def visit(i: int) -> Completion:
        begin.wait(PATIENCE)
        if i % 5 == 4:  # every fifth visitor stops after the first word, or goes away
            cancel = threading.Event()
            stream = either.answer([asked[i]], cancel=cancel)
            shown = next(stream)
            if i % 2:
                cancel.set()
                return last_of(stream)[0]
            stream.close()
            return shown[0]
        return last_of(either.answer([asked[i]]))[0]

    said = [wait() for wait in [in_thread(lambda i=i: visit(i)) for i in range(30)]]
    for i, (mine, whole) in enumerate(zip(said, right, strict=True)):
        if i % 5 == 4:
            assert mine.tokens <= whole.tokens
            assert whole.text.startswith(mine.text)
        else:
            assert (mine.text, mine.tokens, mine.finish) == (whole.text, whole.tokens, whole.finish)
    assert len({c.text for c in right}) > 25
    until(lambda: either._engine._scheduler.is_idle)
    assert not any(row.is_running for row in batch_rows(either))


def batch_rows(model: LocalModel) -> Sequence[Row]:
    batch = model._engine._scheduler._batch
    return batch.rows if batch is not None else ()


def test_a_closed_iterator_frees_its_rows(either: LocalModel) -> None:
    stream = either.stream([ask("Why?"), ask("How?")], LONG)
    next(stream)
    rows = list(batch_rows(either))
    assert len(rows) == 2 and all(row.is_running for row in rows)
    stream.close()
    until(lambda: either._engine._scheduler.is_idle)
    assert [row.finish for row in rows] == ["cancelled"] * 2
    assert all(len(row.answer) < 400 for row in rows)
    assert len(either.generate([ask("Why?")], SHORT)) == 1


def test_an_ended_batch_holds_no_rows(either: LocalModel) -> None:
    either.generate([ask("Why?"), ask("How?")], SHORT)
    until(lambda: either._engine._scheduler.is_idle)
    assert list(batch_rows(either)) == [], "their keys and values would stay in memory"


def test_a_failing_request_never_harms_its_mates(
    either: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = [either.generate([ask(f"{i}?")], SHORT, seed=i)[0].text for i in range(6)]
    for kind in (FusedBatch, LibraryBatch):
        fail_with(monkeypatch, kind, lambda running: any(row.seed == 99 for row in running))
    begin = threading.Barrier(7)

    def visit(i: int, seed: int) -> str:
        begin.wait(PATIENCE)
        return either.generate([ask(f"{i}?")], SHORT, seed=seed)[0].text

    bad = in_thread(lambda: visit(99, 99))
    waits = [in_thread(lambda i=i: visit(i, i)) for i in range(6)]
    assert [wait() for wait in waits] == right
    with pytest.raises(ModelError, match="private operator is gone"):
        bad()


def test_a_caller_that_holds_the_lock_is_served_in_place(either: LocalModel) -> None:
    right = either.generate([ask("Why?")], SHORT)[0].text
    shown = threading.Event()

    def other() -> list[Completion]:
        stream = either.stream([ask("How?")], LONG)
        next(stream)
        shown.set()
        return last_of(stream)

    wait = in_thread(other)
    assert shown.wait(PATIENCE)

    def holder() -> tuple[str, int, int]:
        with either.lock:
            before = sum(len(row.answer) for row in batch_rows(either))
            text = either.generate([ask("Why?")], SHORT)[0].text
            return text, before, sum(len(row.answer) for row in batch_rows(either))

    text, before, after = in_thread(holder)()
    assert text == right
    assert before == after, "the engine's thread stood still meanwhile"
    assert wait()[0].tokens > 0
    assert not either.lock.is_mine


def test_scores_get_their_turn_while_others_decode(either: LocalModel) -> None:
    stream = either.stream([ask("Why?")], LONG)
    next(stream)
    row = batch_rows(either)[0]
    either.score_choices([ask("Why?")], [["yes", "no"]])
    assert row.is_running, "they need not wait for the end of all answers"
    stream.close()


def test_news_stop_at_the_wish_to_stop_though_others_go_on(either: LocalModel) -> None:
    cancel = threading.Event()
    cut = either.stream([ask("Why?")], LONG, cancel=cancel)
    kept = either.stream([ask("How?")], SHORT, seed=5)
    held = next(cut)[0].tokens
    next(kept)
    cancel.set()
    assert {snapshot[0].tokens for snapshot in cut} == {held}
    assert last_of(kept)[0].text == either.generate([ask("How?")], SHORT, seed=5)[0].text


def test_the_thread_ends_when_nothing_is_asked_and_begins_again(
    either: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_LINGER_SECONDS", 0.02)
    first = either.generate([ask("Why?")], SHORT)[0].text
    until(lambda: either._engine._thread is None)
    assert either.generate([ask("Why?")], SHORT)[0].text == first
    until(lambda: either._engine._thread is None)


def test_an_engine_outlives_whatever_goes_wrong(
    either: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = either.generate([ask("Why?")], SHORT)[0].text
    one = either._engine._scheduler
    true_make, failures = one._make_batch, iter([MemoryError("no room"), KeyError("gone")])

    def make() -> DecodingBatch:
        for error in failures:
            raise error
        return true_make()

    until(lambda: one.is_idle)
    monkeypatch.setattr(one, "_make_batch", make)
    monkeypatch.setattr(one, "_batch", None)
    for name in ("MemoryError: no room", "KeyError: 'gone'"):
        with pytest.raises(ModelError, match=name):
            in_thread(lambda: either.generate([ask("Why?")], SHORT))()
    assert either.generate([ask("Why?")], SHORT)[0].text == right


def test_no_requests_are_answered_at_once(either: LocalModel) -> None:
    assert either.generate([], SHORT) == []
    assert last_of(either.answer([])) == []
