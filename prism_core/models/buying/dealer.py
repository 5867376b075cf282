"""Sends one model's requests: each in its turn, its price reserved, again where it may help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from prism_core.errors import CancelledError, PassingError
from prism_core.models.buying.ledger import Ledger
from prism_core.models.buying.pace import Pace
from prism_core.models.buying.prices import Usage
from prism_core.progress import Cancel
from prism_core.types import Completion, Prompt

T = TypeVar("T")

TURN_TOKENS, PROMPT_TOKENS = 16, 64
"""Tokens that a chat template may add to each turn and to a prompt, at the most."""


@runtime_checkable
class Dealt(Protocol):
    """A model at an endpoint: it sends every request through its dealer."""

    dealer: Dealer | None
    """None sends them at once, unpaid and unpaced, as for a visitor who waits."""


class Dealer:
    """One model's way to its endpoint."""

    def __init__(self, pace: Pace, ledger: Ledger, model: str) -> None:
        """Use the endpoint's pace; `model` is the reference that prices name."""
        self.pace, self.ledger, self.model = pace, ledger, model

    def deal(
        self, ask: Callable[[], tuple[T, Usage | None]], most: Usage, cancel: Cancel = None
    ) -> T:
        """Return the answer that `ask` gets, with what the provider counted booked.

        Args:
            ask: sends the request once; returns its answer, and its tokens if they were counted.
            most: the most that the request can use.
            cancel: stops the waiting.

        Raises:
            SpendingLimitError: it might pass the limit in money.
            CancelledError: `cancel` was set.
            RemoteError: the endpoint refused, or failed once more than it may.
        """
        return self.pace.call(lambda: self._once(ask, most, cancel), cancel)

    def _once(self, ask: Callable[[], tuple[T, Usage | None]], most: Usage, cancel: Cancel) -> T:
        key = self.ledger.open(self.model, most, cancel)
        used: Usage | None = None  # whatever cuts an answer short may leave something to be paid
        try:
            found, used = ask()
        except CancelledError:
            raise
        except Exception as error:  # refusals and failures are not charged, lost answers may be
            used = None if isinstance(error, PassingError) and error.kind == "lost" else Usage()
            raise
        finally:
            self.ledger.close(key, used)
        return found


def counted(answer: Completion) -> Usage | None:
    """Return the tokens of an answer as the provider counted them; None where it did not."""
    if not answer.prompt_tokens:
        return None
    return Usage(answer.prompt_tokens, answer.tokens, answer.reasoning_tokens)


def most_tokens(prompt: Prompt, new: int) -> Usage:
    """Return the most tokens that a prompt and its answer can have, whatever the tokenizer.

    A tokenizer's units are bytes or more (byte-level BPE), so a text has no more tokens than bytes.
    """
    size = sum(len(message.content.encode()) + TURN_TOKENS for message in prompt)
    return Usage(size + PROMPT_TOKENS, new)
