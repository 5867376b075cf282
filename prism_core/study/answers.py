"""What a study keeps of every answer and judgement: plain values for the run's records.

An `Answer` holds what was measured and what a program found in it, not what follows from that:
accuracy and alignment are computed when the table is built (`scores`), so that a change of
the definition needs no new answers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One item, answered in one cell with one seed."""

    model: int
    cell: str
    task: str
    item: str
    seed: int
    turns: tuple[str, ...] = ()
    """The written answers, turn by turn; empty for choices."""
    logprobs: tuple[float, ...] = ()
    """Log-likelihood of each choice, in nats; empty for written answers."""
    lengths: tuple[int, ...] = ()
    """Tokens of each choice, as they were scored."""
    tokens: int = 0
    """Tokens written, all turns together."""
    prompt_tokens: int = 0
    """Tokens of the first turn's prompt."""
    gate: float | None = None
    """What the gate said of the first turn."""
    gate_open: bool | None = None
    check: float | None = None
    refused: bool | None = None
    """Whether a rule takes it for a refusal."""
    reasoning_tokens: int = 0
    """Those of `tokens` that were thoughts, where a provider counts them apart."""
    cost: float | None = None
    """What its tokens cost at the price that was known then; None without one."""

    @property
    def key(self) -> str:
        """Key of its record, unique within the run."""
        return answer_key(self.model, self.cell, self.task, self.item, self.seed)


@dataclass(frozen=True)
class JudgedAnswer:
    """What a judge said of one answer."""

    answer: str
    first: float | None = None
    """P(better than neutral) where it was shown first; then where it was shown second."""
    second: float | None = None
    rubric: float | None = None
    refused: bool | None = None
    """Whether the judge takes it for a refusal."""


def answer_key(model: int, cell: str, task: str, item: str, seed: int) -> str:
    """Return the key of an answer's record."""
    return f"{model}|{cell}|{task}|{item}|{seed}"
