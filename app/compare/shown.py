"""What a visitor ordered and what is on their screen, kept on the server for one page.

Both live in `gr.State`, which never leaves the server: the shuffle of a blind comparison cannot be
read from the page. They compare by identity (`eq=False`), so that Gradio sees each new one as a
change without hashing its content.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from app.compare.form import Selection
from prism_core.compare.comparison import ArmAnswer, ArmKind, ComparisonRequest
from prism_core.types import Completion, Persona

Phase = Literal["running", "done", "stopped"]


@dataclass(frozen=True, eq=False)
class Order:
    """One comparison that a visitor asked for."""

    id: str
    """Unguessable; the history entry keeps it."""
    at: str
    """When it was asked for: UTC, as ISO 8601."""
    selection: Selection
    request: ComparisonRequest
    owner: str | None
    """The visitor, whose adapters may be used; None where the browser keeps no id."""
    shuffle: tuple[int, ...] | None
    """For a blind comparison: which arm stands at each letter's place; else None."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What is on a visitor's screen."""

    order: Order
    answers: tuple[ArmAnswer, ...]
    model_name: str
    phase: Phase = "running"
    vote: ArmKind | Literal["none"] | None = None
    """The arm preferred in a blind vote, `none` for no preference, None before the vote."""

    @property
    def is_hidden(self) -> bool:
        """Whether the arms must still not be told."""
        return self.order.shuffle is not None and self.vote is None

    @property
    def is_votable(self) -> bool:
        """Whether hidden arms can be voted on: nothing is written any more."""
        return self.is_hidden and self.phase != "running"

    @property
    def withholds(self) -> bool:
        """Whether the text itself must wait: an arm that starts late would give itself away."""
        return self.is_hidden and "verify" in self.order.selection.arms and self.phase == "running"

    def text_of(self, arm: str) -> str:
        """Return an arm's answer, or an empty text where it has none."""
        for answer in self.answers:
            if answer.arm == arm and answer.completion is not None:
                return answer.completion.text
        return ""

    @property
    def answered(self) -> tuple[ArmKind, ...]:
        """The arms that have an answer with text."""
        return tuple(a.arm for a in self.answers if self.text_of(a.arm).strip())

    def stopped(self) -> Shown:
        """Return the same with whatever was still being written marked as cancelled."""
        answers = tuple(
            replace(a, completion=_cancelled(a.completion), draft=_cancelled(a.draft))
            for a in self.answers
        )
        return replace(self, answers=answers, phase="stopped")


def _cancelled(completion: Completion | None) -> Completion | None:
    if completion is None or completion.finish != "running":
        return completion
    return replace(completion, finish="cancelled")


def new_order(
    selection: Selection, personas: Mapping[str, Persona], *, blind: bool, owner: str | None = None
) -> Order:
    """Make an order of checked inputs; a blind one is shuffled by the system's own randomness."""
    shuffle = None
    if blind:
        places = [i for i, arm in enumerate(selection.arms) if arm != "prism" or selection.adapter]
        random.SystemRandom().shuffle(places)
        shuffle = tuple(places)
    return Order(
        id=secrets.token_hex(8),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        selection=selection,
        request=replace(selection.request(personas), owner=owner or ""),
        owner=owner,
        shuffle=shuffle,
    )
