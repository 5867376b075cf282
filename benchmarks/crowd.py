"""A class that presses Compare together, against the served app.

Each visitor is a process of its own that speaks HTTP as the page does. Prints when the first, the
median and the last are served and see their first word, tokens per second of all together, and the
ratios against a visitor alone, of three arms against one, and how a burst beyond the queue is met:
everybody served or told where they stand. The visitors' own processor time is reported apart.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.support.questions import QUESTIONS
from benchmarks.support.served_app import served_app
from benchmarks.support.visitor import PATIENCE_SECONDS, Page, Visit, Visitor, open_page

THREE = ("neutral", "persona", "control")
_SPAWN = multiprocessing.get_context("spawn")


def main() -> None:
    """Serve the app, or take the one at `--url`, and send the visitors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=30, help="who press together (30)")
    parser.add_argument("--burst", type=int, default=60, help="who press beyond the queue (60)")
    parser.add_argument("--tokens", type=int, default=48, help="the most per answer (48)")
    parser.add_argument("--turns", type=int, default=3, help="repeats of a visitor alone (3)")
    parser.add_argument("--url", help="a running server instead of one started here")
    args = parser.parse_args()
    with ExitStack() as stack:
        url = args.url
        if not url:
            home = stack.enter_context(tempfile.TemporaryDirectory())
            url = stack.enter_context(served_app(Path(home))).url
        page = open_page(url.rstrip("/"))
        crowd(page, ["neutral"], 4, 1)  # loads and warms the model
        alone = turns(page, THREE, args)
        for arm in ("neutral", "persona"):
            one = turns(page, (arm,), args)
            print(f"three arms against {arm} alone: {alone.last / one.last:.2f} x the time")
        if args.visitors:
            report(crowd(page, THREE, args.tokens, args.visitors), alone)
        if args.burst:
            report(crowd(page, THREE, args.tokens, args.burst), alone)


@dataclass(frozen=True)
class Crowd:
    """What became of all who pressed together; seconds since the first press."""

    visits: Sequence[Visit]
    arms: int

    @property
    def served(self) -> list[float]:
        """When each who got every answer had them, earliest first."""
        began = min(v.pressed for v in self.visits)
        done = [v for v in self.visits if v.answers == self.arms]
        return sorted(v.served - began for v in done if v.served is not None)

    @property
    def first_words(self) -> list[float]:
        """How long each waited for the first word."""
        return [v.first - v.pressed for v in self.visits if v.first is not None]

    @property
    def last(self) -> float:
        """When the last was served.

        Raises:
            RuntimeError: nobody was; quotes what the page said.
        """
        if not self.served:
            first = self.visits[0]
            raise RuntimeError(f"nobody was served: {first.refused or first.status!r}")
        return self.served[-1]

    @property
    def speed(self) -> float:
        """Tokens per second of all together."""
        return sum(v.tokens for v in self.visits) / self.last


def turns(page: Page, arms: Sequence[str], args: argparse.Namespace) -> Crowd:
    """Send one visitor several times; print and return the run of median length."""
    runs = [crowd(page, arms, args.tokens, 1, skip=-1 - turn) for turn in range(args.turns)]
    run = sorted(runs, key=lambda one: one.last)[len(runs) // 2]
    print(
        f"one visitor, {', '.join(arms)}: first word after {run.first_words[0]:.2f} s, "
        f"served after {run.last:.2f} s, {run.speed:.0f} tokens/s",
        flush=True,
    )
    return run


def report(run: Crowd, alone: Crowd) -> None:
    """Print how a crowd was served."""
    served, number = run.served, len(run.visits)
    print(
        f"{number} visitors together: served {len(served)}, the first after {served[0]:.1f} s, "
        f"the median after {statistics.median(served):.1f} s, the last after {run.last:.1f} s\n"
        f"  first word: median {statistics.median(run.first_words):.1f} s, "
        f"last {max(run.first_words):.1f} s\n"
        f"  {run.speed:.0f} tokens/s, {run.speed / alone.speed:.2f} x a visitor alone; the last "
        f"waits {run.last / alone.last:.1f} x as long as a visitor alone\n"
        f"  processor time of the visitors: {sum(v.cpu for v in run.visits):.2f} s",
        flush=True,
    )
    missed = [v for v in run.visits if v.answers != run.arms]
    refused = [v for v in missed if v.refused]
    silent = [v for v in missed if not v.refused]
    told = sum(bool(v.place) for v in run.visits if not v.refused)
    print(f"  told about the queue: {told}, refused with a line: {len(refused)}")
    for line in sorted({v.refused for v in refused}):
        print(f"    {line}")
    print(f"  neither served nor refused: {len(silent)}", *{v.status for v in silent}, flush=True)


def crowd(page: Page, arms: Sequence[str], tokens: int, visitors: int, skip: int = 0) -> Crowd:
    """Send visitors who press together, each with a question of their own."""
    start = _SPAWN.Barrier(visitors)
    visits: Any = _SPAWN.Queue()
    clients = []
    for number in range(visitors):
        fields = {
            "px-question": QUESTIONS[(skip + number) % len(QUESTIONS)],
            "px-arms": list(arms),
            "px-tokens": tokens,
            "px-seed": number,
        }
        client = _SPAWN.Process(target=_visit, args=(page.fill(fields), start, visits), daemon=True)
        client.start()
        clients.append(client)
    done = [visits.get(timeout=PATIENCE_SECONDS + 60) for _ in clients]
    for client in clients:
        client.join()
    return Crowd(done, len(arms))


def _visit(page: Page, start: Any, visits: Any) -> None:
    """Wait for the others, press, and hand back what became of it."""
    visitor = Visitor(page)
    start.wait()
    visits.put(visitor.press())


if __name__ == "__main__":
    main()
