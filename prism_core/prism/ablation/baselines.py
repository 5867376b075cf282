"""Ways to use a persona at inference that need no trained gate: the baselines of PRISM.

1. Matched persona: every query gets its own persona's text.
2. Chosen persona: the model itself names the persona for a query, or nobody (PRISM's approach 1).
3. Random gate: as many open rows as the trained gate has, shuffled. It shows what *where* is worth.
4. Oracle gate: open exactly where the persona won. It shows what a perfect gate would be worth.
5. Persona, then verify: the persona drafts, then a neutral pass checks and corrects the draft.

Departure from the paper: the model's choice is the log-likelihood of each persona's name, less
that of the same name for an empty question. A small model prefers some names whatever is asked.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from prism_core.errors import InputError
from prism_core.models.generator import Generator
from prism_core.types import Message, Persona, Prompt

NOBODY = "Nobody"
"""What the model names where no persona is to answer."""
_NO_QUESTION = "..."

_CHOOSE = """Who of these should answer the question below?

{people}
- {nobody}: a question that none of them is for

Question:
{question}

Reply with one name from the list."""


def choosing_prompt(question: str, personas: Sequence[Persona]) -> Prompt:
    """Build what the model reads to name the persona for a question."""
    people = "\n".join(f"- {p.title}: {p.domain}" for p in personas)
    text = _CHOOSE.format(people=people, nobody=NOBODY, question=question.strip())
    return (Message("user", text),)


@dataclass(frozen=True)
class PersonaChoice:
    """Whom the model named for a question."""

    persona: str | None
    scores: tuple[float, ...]
    """How much likelier the question made each name, in nats; nobody's is the last."""


class PersonaChooser:
    """Lets the model name the persona for a question, from titles and domains alone."""

    def __init__(self, personas: Sequence[Persona], model: Generator) -> None:
        """Choose among these personas, and nobody.

        Raises:
            InputError: no persona, or two of one title, which the model could not tell apart.
        """
        titles = [p.title for p in personas]
        if not personas or len({*titles, NOBODY}) <= len(titles):
            raise InputError(
                "The model needs personas with different titles to choose from; "
                f"it got {', '.join(titles) or 'none'}."
            )
        self.personas, self.model = tuple(personas), model
        self._names = [*titles, NOBODY]
        self._bias: list[float] | None = None

    def choose(
        self, questions: Sequence[str], *, cancel: threading.Event | None = None
    ) -> list[PersonaChoice]:
        """Choose for each question.

        Raises:
            InputError: a question is too long for the model.
            CancelledError: `cancel` was set.
        """
        if self._bias is None:
            self._bias = self._scores([_NO_QUESTION], cancel)[0]
        names = [*(p.name for p in self.personas), None]
        found = []
        for row in self._scores(questions, cancel):
            gains = [score - bias for score, bias in zip(row, self._bias, strict=True)]
            found.append(PersonaChoice(names[gains.index(max(gains))], tuple(gains)))
        return found

    def _scores(
        self, questions: Sequence[str], cancel: threading.Event | None
    ) -> list[list[float]]:
        """Return the log-likelihood of each name as the reply, in nats."""
        if not questions:
            return []
        prompts = [choosing_prompt(q, self.personas) for q in questions]
        names = [self._names] * len(prompts)
        rows = self.model.score_choices(prompts, names, cancel=cancel)
        return [[choice.logprob for choice in row] for row in rows]


def random_gate(opened: Sequence[bool], seed: int) -> list[bool]:
    """Open as many rows as a gate opened, at random places."""
    shuffled = list(opened)
    random.Random(seed).shuffle(shuffled)
    return shuffled
