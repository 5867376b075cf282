"""The table that PRISM and its baselines share: which columns it has, and how a cell is computed.

Every system answers the same held-out queries, so a cell holds a system's mean with its interval,
and its difference to the base paired by query. What a system or the data cannot define is left out
of the cell, never 0. The queries are parted by whether the persona is wanted: where that is known
beforehand it counts, else whether the persona won the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from prism_core.prism.records import JudgedPair
from prism_core.scorers.verdicts import win_score
from prism_core.stats import item_scores, mean_of, pair, paired_difference, rate_of
from prism_core.storage import unpack
from prism_core.storage.journal import Journal
from prism_core.types import Completion, Estimate, Verdict

STAGE = "ablation"
TABLE_KEY = "table"
FEW = 20
"""With fewer held-out queries the table says that its intervals are wide."""
Behaviour = Callable[[str], bool]
"""Whether an answer shows the persona's behaviour, where a program can tell."""


@dataclass(frozen=True)
class AblationColumn:
    """One column of the table."""

    key: str
    label: str
    kind: Literal["rate", "score", "number"]
    """Yes or no for each query, a score from 0 to 1, or a number."""
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    about: str = ""


@dataclass(frozen=True)
class AblationCell:
    """One system's mean over the queries."""

    estimate: Estimate
    change: Estimate | None = None
    """Difference to the base, paired by query; None where there is nothing to compare."""


@dataclass(frozen=True)
class AblationRow:
    """One system's numbers."""

    system: str
    label: str
    cells: Mapping[str, AblationCell]
    """By the column's key; a column that the system has no number for is left out."""
    note: str = ""


@dataclass(frozen=True)
class MissingRow:
    """A system that is not in the table, and why, as a sentence."""

    system: str
    label: str
    why: str


@dataclass(frozen=True)
class AblationTable:
    """All systems on the same held-out queries."""

    columns: tuple[AblationColumn, ...]
    rows: tuple[AblationRow, ...]
    missing: tuple[MissingRow, ...]
    queries: int
    wanted: int
    judge: str
    notes: tuple[str, ...] = ()

    def row(self, system: str) -> AblationRow | None:
        """Return a system's row by its short name; None where it did not take part."""
        return next((row for row in self.rows if row.system == system), None)


@dataclass(frozen=True)
class QueryOutcome:
    """What one system did with one query."""

    answer: Completion
    read_tokens: int
    """Tokens read before the answer: the prompt, and what was read to choose it."""
    is_routed: bool
    kl: float | None
    """KL from the persona teacher on the persona's answer, nats a token."""
    verdict: Verdict | None
    """Its answer (as `persona`) against the base's; None for the base itself."""
    seconds: float | None
    """Time for this query asked alone; None where it was not timed."""


COLUMNS: tuple[AblationColumn, ...] = (
    AblationColumn(
        "win_rate",
        "Win rate against base",
        "score",
        better="higher",
        about="Judged in both orders; a tie counts half, so 0.5 is no difference.",
    ),
    AblationColumn("ties", "Ties", "rate", about="Neither answer was chosen in both orders."),
    AblationColumn(
        "kl",
        "KL to the persona teacher",
        "number",
        "nats a token",
        about="On the persona's answers to all held-out queries; 0 is the teacher itself.",
    ),
    AblationColumn(
        "kl_wanted",
        "KL where wanted",
        "number",
        "nats a token",
        "lower",
        about="The same, on queries where the persona is wanted.",
    ),
    AblationColumn(
        "kl_unwanted",
        "KL where unwanted",
        "number",
        "nats a token",
        about="The same on the other queries; a system should stay where the base is.",
    ),
    AblationColumn("routed", "Share routed", "rate", about="Persona or adapter answered."),
    AblationColumn(
        "prompt_tokens",
        "Tokens read",
        "number",
        "tokens",
        "lower",
        about="The prompt, and what was read to choose it.",
    ),
    AblationColumn("answer_tokens", "Tokens written", "number", "tokens"),
    AblationColumn(
        "seconds",
        "Time an answer",
        "number",
        "s",
        "lower",
        about="A few of the queries, each asked alone.",
    ),
    AblationColumn(
        "behaviour_wanted",
        "Behaviour where wanted",
        "rate",
        better="higher",
        about="A program found the persona's behaviour in the answer.",
    ),
    AblationColumn(
        "behaviour_unwanted",
        "Behaviour where unwanted",
        "rate",
        better="lower",
        about="The same in answers where it is not wanted.",
    ),
    AblationColumn(
        "unchanged_unwanted",
        "Unchanged where unwanted",
        "rate",
        better="higher",
        about="The answer is the base's, letter by letter.",
    ),
)
"""The columns, in order; `behaviour_*` need a behaviour that a program can see."""
_NEVER_COMPARED = frozenset({"ties", "routed", "unchanged_unwanted"})
_Values = Mapping[str, float]


def load_table(journal: Journal) -> AblationTable | None:
    """Return a run's finished table, or None."""
    part = journal.load(STAGE).get(TABLE_KEY)
    return None if part is None else unpack(AblationTable, part)


def is_wanted(judged: JudgedPair) -> bool:
    """Whether the persona is wanted: as the query says, else as the verdict does."""
    known = judged.pair.query.wanted
    return judged.route == "distill" if known is None else known


def remarks(held_out: Sequence[JudgedPair]) -> tuple[str, ...]:
    """Say how to read a table on these queries, as sentences."""
    notes = []
    if len(held_out) < FEW:
        notes.append(f"Only {len(held_out)} queries were held out: the intervals are wide.")
    if not any(is_wanted(judged) for judged in held_out):
        notes.append("The persona is wanted for none of the held-out queries.")
    return tuple(notes)


def make_cells(
    outcomes: Sequence[QueryOutcome],
    base: Sequence[QueryOutcome],
    held_out: Sequence[JudgedPair],
    behaviour: Behaviour | None = None,
) -> dict[str, AblationCell]:
    """Compute one system's cells by the column's key.

    `base` is what the base did with the same queries; for the base itself, the same sequence.
    """
    mine = _values(outcomes, base, held_out, behaviour)
    theirs = _values(base, base, held_out, behaviour)
    # Half is what the base would get against itself.
    theirs["win_rate"] = dict.fromkeys(mine["win_rate"], 0.5)
    cells: dict[str, AblationCell] = {}
    for column in COLUMNS:
        values = mine[column.key]
        if not values:
            continue
        compared = outcomes is not base and column.key not in _NEVER_COMPARED
        change = _change(column, values, theirs[column.key]) if compared else None
        cells[column.key] = AblationCell(_estimate(column, values), change)
    return cells


def _values(
    outcomes: Sequence[QueryOutcome],
    base: Sequence[QueryOutcome],
    held_out: Sequence[JudgedPair],
    behaviour: Behaviour | None,
) -> dict[str, _Values]:
    """Compute each column's values by query; queries without one are left out."""
    ids = [judged.pair.query.id for judged in held_out]
    wanted = {i for i, judged in zip(ids, held_out, strict=True) if is_wanted(judged)}
    everyone, others = set(ids), set(ids) - wanted
    rows = dict(zip(ids, zip(outcomes, base, strict=True), strict=True))

    def pick(
        number: Callable[[QueryOutcome, QueryOutcome], float | None], which: set[str] = everyone
    ) -> _Values:
        found = {i: number(*row) for i, row in rows.items() if i in which}
        return {i: value for i, value in found.items() if value is not None}

    def shows(outcome: QueryOutcome, _base: QueryOutcome) -> float | None:
        return None if behaviour is None else float(behaviour(outcome.answer.text))

    return {
        "win_rate": pick(lambda o, _: win_score(o.verdict) if o.verdict else None),
        "ties": pick(lambda o, _: float(o.verdict.winner == "tie") if o.verdict else None),
        "kl": pick(lambda o, _: o.kl),
        "kl_wanted": pick(lambda o, _: o.kl, wanted),
        "kl_unwanted": pick(lambda o, _: o.kl, others),
        "routed": pick(lambda o, _: float(o.is_routed)),
        "prompt_tokens": pick(lambda o, _: float(o.read_tokens)),
        "answer_tokens": pick(lambda o, _: float(o.answer.tokens)),
        "seconds": pick(lambda o, _: o.seconds),
        "behaviour_wanted": pick(shows, wanted),
        "behaviour_unwanted": pick(shows, others),
        "unchanged_unwanted": pick(lambda o, b: float(o.answer.text == b.answer.text), others),
    }


def _estimate(column: AblationColumn, values: _Values) -> Estimate:
    numbers = [values[i] for i in sorted(values)]
    if column.kind == "rate":
        return rate_of([number == 1.0 for number in numbers])
    if column.kind == "score":
        return mean_of(numbers, bounds=(0.0, 1.0))
    found = mean_of(numbers)
    # Tokens, seconds and KL cannot be negative, whatever a few values' spread suggests.
    return found if found.low is None else replace(found, low=max(found.low, 0.0))


def _change(column: AblationColumn, values: _Values, base: _Values) -> Estimate | None:
    """Estimate the paired difference; None where no query has both."""
    if not values.keys() & base.keys():
        return None
    scores = [item_scores(list(v), list(v.values())) for v in (values, base)]
    bounds = None if column.kind == "number" else (0.0, 1.0)
    return paired_difference(pair(*scores), bounds=bounds)
