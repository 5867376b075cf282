"""Tokens and what they cost: counted by the provider, priced by what people wrote in a file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

MILLION = 1_000_000


@dataclass(frozen=True)
class Usage:
    """The tokens of one request, as the provider counts them, or at most."""

    prompt: int = 0
    new: int = 0
    """Tokens of the answer, thoughts included."""
    reasoning: int = 0
    """Those of `new` that were thoughts; 0 where the provider does not tell."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt, self.new + other.new, self.reasoning + other.reasoning
        )


class Rate(Protocol):
    """What a model's tokens cost, by the million."""

    @property
    def input(self) -> float:
        """For tokens of prompts."""

    @property
    def output(self) -> float:
        """For tokens of answers, thoughts included."""

    @property
    def currency(self) -> str:
        """Three letters."""


def cost_of(usage: Usage, rate: Rate) -> float:
    """Return what a request costs, in the rate's currency."""
    return (usage.prompt * rate.input + usage.new * rate.output) / MILLION


def money(amount: float, currency: str) -> str:
    """Write an amount of money: two decimals, or two digits where it is less than a cent."""
    small = 0 < amount < 0.1
    return f"{amount:,.{1 - math.floor(math.log10(amount)) if small else 2}f} {currency}"
