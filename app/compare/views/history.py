"""A visitor's history as a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from app.compare.history import HistoryEntry
from app.compare.views.cards import arm_title

HISTORY_COLUMNS = ["When (UTC)", "Question", "Persona", "Arms", "Tokens", "Vote"]


def history_frame(entries: Sequence[HistoryEntry]) -> pd.DataFrame:
    """Return a row for each comparison, the latest first."""
    rows = [
        (
            entry.at[:16].replace("T", " "),
            _short(entry.question),
            f"{entry.persona}, {entry.length}",
            ", ".join(arm_title(a.arm) for a in entry.arms),
            sum(a.tokens for a in entry.arms),
            _vote(entry.vote),
        )
        for entry in reversed(entries)
    ]
    return pd.DataFrame(rows, columns=HISTORY_COLUMNS)


def _vote(vote: str | None) -> str:
    if vote is None:
        return ""
    return "No preference" if vote == "none" else arm_title(vote)


def _short(text: str, width: int = 90) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
