"""The fair lock: first come first served, again for whoever holds it, and no thread lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from prism_core.utils.fair_lock import FairLock

PATIENCE = 10.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.001)


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_it_is_given_in_the_order_in_which_it_was_asked_for() -> None:
    lock, order = FairLock(), []
    threads = []
    with lock:
        for number in range(8):

            def work(number: int = number) -> None:
                with lock:
                    order.append(number)

            threads.append(started(work))
            until(lambda: len(lock._waiting) == len(threads))
        assert order == []
    for thread in threads:
        thread.join(PATIENCE)
    assert order == list(range(8))


def test_whoever_gives_it_back_and_asks_again_stands_behind_those_who_wait() -> None:
    lock, held_by = FairLock(), []

    def waiter() -> None:
        with lock:
            held_by.append("waiter")

    with lock:
        thread = started(waiter)
        until(lambda: len(lock._waiting) == 1)
    with lock:  # Python's own lock would most often be taken here first
        held_by.append("again")
    thread.join(PATIENCE)
    assert held_by == ["waiter", "again"]


def test_a_holder_takes_it_again_and_only_its_last_exit_frees_it() -> None:
    lock, entered = FairLock(), threading.Event()

    def other() -> None:
        with lock:
            entered.set()

    with lock:
        with lock, lock:
            thread = started(other)
            until(lambda: len(lock._waiting) == 1)
        assert lock.is_mine
        assert not entered.wait(0.05), "the outer block still holds it"
    thread.join(PATIENCE)
    assert entered.is_set()
    assert not lock.is_mine


def test_it_is_mine_only_in_the_thread_that_holds_it() -> None:
    lock, seen = FairLock(), []
    assert not lock.is_mine
    with lock:
        assert lock.is_mine
        started(lambda: seen.append(lock.is_mine)).join(PATIENCE)
    assert seen == [False]
    assert not lock.is_mine


def test_an_error_inside_frees_it() -> None:
    lock = FairLock()
    with pytest.raises(ValueError, match="inside"), lock:
        raise ValueError("inside")
    assert not lock.is_mine
    taken = threading.Event()

    def other() -> None:
        with lock:
            taken.set()

    started(other).join(PATIENCE)
    assert taken.is_set()


def test_no_two_threads_hold_it_together() -> None:
    lock, inside, most, turns = FairLock(), 0, 0, [0] * 6

    def work(number: int) -> None:
        nonlocal inside, most
        for _ in range(200):
            with lock:
                inside += 1
                most = max(most, inside)
                turns[number] += 1
                with lock:
                    inside -= 1

    threads = [started(lambda n=n: work(n)) for n in range(6)]
    for thread in threads:
        thread.join(PATIENCE)
    assert (most, turns) == (1, [200] * 6)
