"""What a run has bought, request by request, kept so that a kill forgets nothing that was paid.

1. Before a request is sent, the most that it can cost is reserved and written down: the prompt, and
   as many tokens as the answer may have. Only then is it sent.
2. Afterwards what the provider counted takes the reservation's place. Where it counted nothing, or
   the answer was lost on the way, the whole reservation counts as spent.
3. A limit in money holds for spent and reserved together, so it cannot be passed: a request that
   might pass it waits until others have come back cheaper, and is refused where none is under way.
4. Requests that were under way when the process died count as spent at the next start.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from prism_core.errors import CancelledError, InputError, SpendingLimitError
from prism_core.models.buying.prices import Rate, Usage, cost_of, money
from prism_core.progress import Cancel
from prism_core.storage import Store, pack
from prism_core.storage.group_commit import GroupCommit
from prism_core.utils.validation import build

STAGE = "spending"
_LOOK = 0.1


@dataclass(frozen=True)
class Entry:
    """One request."""

    model: str
    """The model's reference."""
    usage: Usage
    """What was counted; while it is under way, and where nothing was counted, the most."""
    cost: float | None = None
    """None where the model has no price."""
    counted: bool = False
    """Whether the provider counted the tokens."""


@dataclass(frozen=True)
class Spent:
    """What a run has bought so far, requests under way included at their most."""

    requests: int
    usage: Usage
    cost: float | None
    """None where a request has no price."""
    uncounted: int
    """Requests whose tokens nobody counted, or not yet; they stand at the most they can be."""


class Ledger:
    """The purchases of one run. Safe to share among threads."""

    def __init__(
        self, store: Store, run_id: str, rates: Mapping[str, Rate], limit: float | None = None
    ) -> None:
        """Read what was bought before.

        Args:
            store: where the run is.
            run_id: whose purchases these are.
            rates: by the model's reference; a model that is not there has an unknown price.
            limit: the most that may be spent, in the one currency of all rates.

        Raises:
            InputError: there is a limit, and the rates are in several currencies.
        """
        currencies = sorted({rate.currency for rate in rates.values()})
        if limit is not None and len(currencies) > 1:
            raise InputError(
                f"The prices are in {' and '.join(currencies)}; a limit in money needs all of "
                "them in one currency."
            )
        self.limit, self.currency = limit, currencies[0] if currencies else ""
        self._rates = rates
        self._store, self._run_id = store, run_id
        self._entries = {
            key: build(Entry, data) for key, data in store.get_records(run_id, STAGE).items()
        }
        self._cost, self._usage = 0.0, Usage()
        self._unpriced = self._uncounted = 0
        for one in self._entries.values():
            self._count(one, 1)
        self._open: set[str] = set()
        self._unwritten: dict[str, Entry] = {}
        self._numbers, self._born = itertools.count(), time.time_ns()
        self._changed = threading.Condition()
        self._commit = GroupCommit(self._write)

    def open(self, model: str, most: Usage, cancel: Cancel = None) -> str:
        """Reserve the most that a request can cost; return its key once that is on the disk.

        Raises:
            SpendingLimitError: it might pass the limit, and nothing under way can make room.
            CancelledError: `cancel` was set while it waited.
        """
        entry = Entry(model, most, self._cost_of(model, most))
        key = f"{self._born:x}-{next(self._numbers):06d}"
        with self._changed:
            while self._passes_limit(entry):
                if not self._open:
                    raise SpendingLimitError(self._refusal(entry))
                if cancel is not None and cancel.is_set():
                    raise CancelledError("stopped on request")
                self._changed.wait(_LOOK)
            self._open.add(key)
            self._entries[key] = entry
            self._count(entry, 1)
        try:
            self._commit.put({key: entry})
        except Exception:
            self.close(key, Usage())
            raise
        return key

    def close(self, key: str, usage: Usage | None) -> None:
        """Book what a request used; None where nobody counted: then the reservation is spent.

        It is written down with the next request, or by `flush`.
        """
        with self._changed:
            before = self._entries[key]
            if usage is not None:
                cost = self._cost_of(before.model, usage)
                after = replace(before, usage=usage, cost=cost, counted=True)
                self._entries[key] = self._unwritten[key] = after
                self._count(before, -1)
                self._count(after, 1)
            self._open.discard(key)
            self._changed.notify_all()

    def flush(self) -> None:
        """Write down what was booked since the last request."""
        with self._changed:
            waiting = bool(self._unwritten)
        if waiting:
            self._write({})

    def spent(self) -> Spent:
        """Return what was bought so far."""
        with self._changed:
            cost = None if self._unpriced else self._cost
            return Spent(len(self._entries), self._usage, cost, self._uncounted)

    def _count(self, entry: Entry, times: int) -> None:
        """Add an entry to the totals, or with -1 take it out."""
        used = entry.usage
        self._usage += Usage(times * used.prompt, times * used.new, times * used.reasoning)
        self._cost += times * (entry.cost or 0.0)
        self._unpriced += times * (entry.cost is None)
        self._uncounted += times * (not entry.counted)

    def _cost_of(self, model: str, usage: Usage) -> float | None:
        rate = self._rates.get(model)
        return None if rate is None else cost_of(usage, rate)

    def _passes_limit(self, entry: Entry) -> bool:
        return self.limit is not None and self._cost + (entry.cost or 0.0) > self.limit

    def _refusal(self, entry: Entry) -> str:
        limit, spent, next_one = (
            money(amount or 0.0, self.currency) for amount in (self.limit, self._cost, entry.cost)
        )
        return (
            f"The limit of {limit} is reached: {spent} are spent, and the next "
            f"answer of {entry.model} may cost up to {next_one}. All answers are "
            "kept: start the study again with a higher limit, and none of them is bought twice."
        )

    def _write(self, parts: Mapping[str, Entry]) -> None:
        with self._changed:
            booked, self._unwritten = self._unwritten, {}
        # What was booked since replaces a reservation of the same request.
        merged = {**parts, **booked}
        self._store.put_records(
            self._run_id, STAGE, {key: pack(one) for key, one in merged.items()}
        )
