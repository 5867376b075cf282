"""What a study buys from endpoints: which prices hold, at what pace it asks, what it has spent."""

from __future__ import annotations

from collections.abc import Sequence

from prism_core.errors import InputError
from prism_core.models.buying.dealer import Dealer, Dealt, counted
from prism_core.models.buying.ledger import Ledger, Spent
from prism_core.models.buying.pace import Pace
from prism_core.models.buying.prices import Rate, cost_of, money
from prism_core.models.generator import Generator
from prism_core.models.remote.catalogue import endpoints_file, find_endpoint
from prism_core.models.sources import split_remote
from prism_core.storage import Store
from prism_core.study.spec import StudySpec
from prism_core.types import Completion


class Purchases:
    """One study's purchases, all endpoints together."""

    def __init__(self, store: Store, run_id: str, spec: StudySpec) -> None:
        """Read the prices of the spec's models and judges, and what was bought before.

        Raises:
            InputError: there is a limit in money, and a price is unknown or in another currency.
        """
        self.rates = rates_of(spec)
        self.ledger = Ledger(store, run_id, self.rates, spec.most_cost)
        self._spec = spec
        self._paces: dict[str, Pace] = {}

    def equip(self, reference: str, model: Generator) -> None:
        """Let a model at an endpoint send its requests through a dealer."""
        if isinstance(model, Dealt):
            model.dealer = Dealer(self._pace(reference), self.ledger, reference)

    def note(self) -> str:
        """Say why nothing is asked now, or else what has been spent; empty where nothing was."""
        for pace in self._paces.values():
            if reason := pace.pause():
                return f"Paused: {reason}"
        spent = self.ledger.spent()
        if not spent.requests:
            return ""
        return self.shown(spent)

    def shown(self, spent: Spent) -> str:
        """Say what was spent, in money or else in tokens."""
        if spent.cost is not None and self.ledger.currency:
            return f"{money(spent.cost, self.ledger.currency)} spent"
        return f"{spent.usage.prompt + spent.usage.new:,} tokens bought, their price is unknown"

    def sentences(self) -> tuple[str, ...]:
        """Say what was bought, for the study's notes; nothing where nothing was."""
        spent = self.ledger.spent()
        if not spent.requests:
            return ()
        used, cost = spent.usage, "their price is not known"
        if spent.cost is not None:
            cost = money(spent.cost, self.ledger.currency)
        line = (
            f"Bought from endpoints: {spent.requests:,} requests, {used.prompt:,} tokens read and "
            f"{used.new:,} written, {used.reasoning:,} of them thoughts; {cost}."
        )
        if spent.uncounted:
            line += (
                f" Of {spent.uncounted:,} nobody counted the tokens; they stand at the most they "
                "can have been."
            )
        return (line,)

    def _pace(self, reference: str) -> Pace:
        """Return the pace of a model's endpoint."""
        name = reference.partition(":")[0]
        if name not in self._paces:
            endpoint = find_endpoint(name)
            most = min(self._spec.concurrency, endpoint.concurrency or self._spec.concurrency)
            per_minute = endpoint.limits.requests_per_minute
            self._paces[name] = Pace(most, self._spec.retries, per_minute=per_minute)
        return self._paces[name]


def cost_of_turns(turns: Sequence[Completion], rate: Rate) -> float | None:
    """Return what the turns of an answer cost; None where the provider did not count one."""
    used = [counted(turn) for turn in turns]
    return None if None in used else sum(cost_of(one, rate) for one in used if one is not None)


def rates_of(spec: StudySpec) -> dict[str, Rate]:
    """Return the prices of the models and judges at endpoints, by reference, where known.

    Raises:
        NotFoundError: there is no such endpoint.
        InputError: there is a limit in money, and a price is not known.
    """
    found: dict[str, Rate] = {}
    for reference in dict.fromkeys((*spec.models, *spec.judges)):
        parts = split_remote(reference)
        if parts is None:
            continue
        price = find_endpoint(parts[0]).prices.get(parts[1])
        if price is not None:
            found[reference] = price
        elif spec.most_cost is not None:
            raise InputError(
                f"most_cost is {spec.most_cost:g}, but the price of '{reference}' is not known, so "
                f"no limit in money can be kept. Write its price into {endpoints_file()}."
            )
    return found
