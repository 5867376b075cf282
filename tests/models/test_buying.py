"""Buying answers: the pace of an endpoint; money that is reserved, booked and never overspent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from prism_core.errors import (
    CancelledError,
    Failure,
    InputError,
    PassingError,
    RemoteError,
    SpendingLimitError,
    StorageError,
)
from prism_core.models.buying import pace as pace_module
from prism_core.models.buying.dealer import Dealer, most_tokens
from prism_core.models.buying.ledger import STAGE, Ledger
from prism_core.models.buying.pace import Pace
from prism_core.models.buying.prices import Usage, cost_of, money
from prism_core.storage import Store
from prism_core.storage.group_commit import GroupCommit
from prism_core.types import Message


@dataclass(frozen=True)
class Cents:
    input: float = 1.0
    output: float = 10.0
    currency: str = "EUR"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/run.sqlite3", home=tmp_path) as opened:
        yield opened


def passing(kind: Failure, retry_after: float | None = None) -> PassingError:
    return PassingError(f"h: {kind}.", kind, retry_after)


def ledger_of(store: Store, limit: float | None = None, run: str = "") -> tuple[Ledger, str]:
    run = run or store.create_run("study", "x", {}).id
    return Ledger(store, run, {"a:m": Cents()}, limit), run


# pace


def test_a_429_halves_the_slots_once_and_success_opens_them_again() -> None:
    pace = Pace(8)
    begun, asked = threading.Barrier(8), threading.Lock()
    storm = [True] * 8

    def ask() -> str:
        with asked:
            refuse = bool(storm)
            if refuse:
                storm.pop()
        if refuse:
            begun.wait(5)  # all eight are under way when the storm breaks
            raise passing("limited", 0.2)
        return "answer"

    start = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: pace.call(ask), range(8))) == ["answer"] * 8
    assert time.monotonic() - start >= 0.2
    # 8 -> 4 once, not eight times; then every answer opens 1 / slots: 4 -> 4.25 -> 4.49 -> ...
    slots = 4.0
    for _ in range(8):
        slots += 1 / slots
    assert pace.slots == int(slots) == 5
    for _ in range(60):
        pace.call(lambda: None)
    assert pace.slots == 8


def test_nobody_asks_before_the_time_that_the_server_named() -> None:
    pace, times = Pace(4), []
    first = iter([passing("limited", 0.4)])

    def ask() -> None:
        times.append(time.monotonic())
        for error in first:
            raise error

    threads = [threading.Thread(target=pace.call, args=(ask,)) for _ in range(4)]
    threads[0].start()
    while not times:
        time.sleep(0.005)
    time.sleep(0.05)
    assert pace.pause() == "h: limited. Asking again in 0 s."
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert min(times[1:]) - times[0] >= 0.4 and len(times) == 5
    assert pace.pause() == ""


def test_a_request_that_fails_is_repeated_as_often_as_allowed() -> None:
    calls = []

    def ask() -> None:
        calls.append(1)
        raise passing("failed", 0.01)

    with pytest.raises(RemoteError, match=r"h: failed\. It was asked 3 times\."):
        Pace(2, retries=2).call(ask)
    assert len(calls) == 3


def test_a_server_that_is_away_is_asked_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([passing("away", 0.01)] * 8)

    def ask() -> str:
        for error in answers:
            raise error
        return "back"

    monkeypatch.setattr(pace_module, "FIRST_WAIT", 0.001)
    assert Pace(2, retries=0).call(ask) == "back"


def test_waiting_ends_within_a_moment_of_a_cancel() -> None:
    cancel = threading.Event()

    def ask() -> None:
        raise passing("limited", 60)

    threading.Timer(0.1, cancel.set).start()
    start = time.monotonic()
    with pytest.raises(CancelledError):
        Pace(2).call(ask, cancel)
    assert time.monotonic() - start < 1


def test_a_refusal_is_not_repeated() -> None:
    calls = []

    def ask() -> None:
        calls.append(1)
        raise RemoteError("no such model")

    with pytest.raises(RemoteError, match="no such model"):
        Pace(2).call(ask)
    assert len(calls) == 1


# money


def test_what_tokens_cost() -> None:
    # 2,000 x 1 / 1e6 + 300 x 10 / 1e6 = 0.002 + 0.003
    assert cost_of(Usage(2_000, 300), Cents()) == pytest.approx(0.005)
    assert [money(x, "EUR") for x in (0, 0.005, 1234.5)] == [
        "0.00 EUR",
        "0.0050 EUR",
        "1,234.50 EUR",
    ]


def test_the_most_tokens_of_a_prompt_are_its_bytes() -> None:
    # "é" has two bytes: 2 + 16 for the turn + 64 for the prompt.
    assert most_tokens((Message("user", "é"),), 7) == Usage(82, 7)


def test_a_request_is_on_the_disk_before_it_is_sent_and_counts_as_spent_after_a_kill(
    store: Store,
) -> None:
    ledger, run = ledger_of(store)
    key = ledger.open("a:m", Usage(100, 50))
    assert store.get_records(run, STAGE)[key]["usage"] == {"prompt": 100, "new": 50, "reasoning": 0}
    reborn, _ = ledger_of(store, run=run)  # as after kill -9: nothing was closed
    spent = reborn.spent()
    assert (spent.requests, spent.uncounted, spent.usage) == (1, 1, Usage(100, 50))
    assert spent.cost == pytest.approx((100 + 500) / 1e6)
    ledger.close(key, Usage(80, 20, 5))
    ledger.flush()
    spent = ledger_of(store, run=run)[0].spent()
    assert (spent.uncounted, spent.usage) == (0, Usage(80, 20, 5))
    assert spent.cost == pytest.approx((80 + 200) / 1e6)


def test_without_a_price_the_cost_is_unknown_and_tokens_are_counted(store: Store) -> None:
    ledger, _ = ledger_of(store)
    ledger.close(ledger.open("b:m", Usage(9, 9)), Usage(5, 4))
    spent = ledger.spent()
    assert spent.cost is None and spent.usage == Usage(5, 4)


def test_a_limit_is_never_passed_by_what_is_under_way(store: Store) -> None:
    # Each request may cost 10 x 10 / 1e6 = 1e-4: three fit into 3.58e-4.
    ledger, _ = ledger_of(store, limit=3.58e-4)
    most, guard, now, top = Usage(0, 10), threading.Lock(), [0], [0]

    def buy(_: int) -> None:
        key = ledger.open("a:m", most)
        with guard:
            now[0] += 1
            top[0] = max(top[0], now[0])
        time.sleep(0.01)
        with guard:
            now[0] -= 1
        ledger.close(key, Usage(0, 1))  # 1e-5: cheaper than it could have been

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(buy, range(20)))
    assert top[0] == 3 and ledger.spent().cost == pytest.approx(20 * 1e-5)
    for _ in range(5):  # 2e-4 + 5e-5 = 2.5e-4; one more may cost 1e-4: 3.5e-4
        ledger.close(ledger.open("a:m", most), Usage(0, 1))
    ledger.close(ledger.open("a:m", most), Usage(0, 1))
    with pytest.raises(SpendingLimitError, match=r"limit of 0\.00036 EUR is reached: 0\.00026 EUR"):
        ledger.open("a:m", most)
    assert (ledger.spent().cost or 0) <= 3.58e-4


def test_a_limit_needs_one_currency(store: Store) -> None:
    with pytest.raises(InputError, match="in EUR and USD"):
        Ledger(store, "", {"a:m": Cents(), "b:m": Cents(currency="USD")}, limit=1.0)


@pytest.mark.parametrize(
    ("error", "counted", "tokens"),
    [
        (passing("lost"), 1, 60),  # the answer was lost on the way: it may be charged
        (passing("failed"), 0, 0),
        (RemoteError("refused"), 0, 0),
        (CancelledError("stopped"), 1, 60),
    ],
)
def test_a_failed_request_is_charged_where_it_may_have_to_be_paid(
    store: Store, error: Exception, counted: int, tokens: int
) -> None:
    ledger, _ = ledger_of(store)

    def ask() -> tuple[str, Usage]:
        raise error

    with pytest.raises((RemoteError, CancelledError)):
        Dealer(Pace(1, retries=0), ledger, "a:m").deal(ask, Usage(10, 50))
    spent = ledger.spent()
    assert (spent.uncounted, spent.usage.prompt + spent.usage.new) == (counted, tokens)


# group commits


def test_threads_share_transactions_and_none_goes_on_before_its_own() -> None:
    written: list[dict[str, int]] = []

    def write(parts: Mapping[str, int]) -> None:
        time.sleep(0.02)
        written.append(dict(parts))

    group = GroupCommit(write)

    def put(number: int) -> bool:
        group.put({str(number): number})
        return any(str(number) in parts for parts in written)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(put, range(64)))
    assert sum(map(len, written)) == 64 and len(written) <= 16


def test_a_write_that_fails_is_told_to_all_who_joined() -> None:
    def write(parts: object) -> None:
        time.sleep(0.02)
        raise StorageError("the disk is full")

    group = GroupCommit(write)
    failed = []

    def put(number: int) -> None:
        try:
            group.put({str(number): number})
        except StorageError:
            failed.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    assert sorted(failed) == list(range(8))
