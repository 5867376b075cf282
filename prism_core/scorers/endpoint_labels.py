"""What a judge at an endpoint makes of a few given words, such as A and B, Yes and No, 1 to 10.

Log-probabilities of given text, which judges here read, are rarely to be had at an endpoint. So the
probe decides between two measures, and who reads the result is told which it was:

1. first token: the log-probabilities of the words among the likeliest first tokens of its answer.
   A word that is not among them counts as likely as the least likely one that is.
2. written: the judge writes its answer and the word is read from it; that is all or nothing.

Words of which one begins another (1 and 10) cannot be told apart by a first token and are written.
Each answer is in the store as soon as it arrives, so no judgement is bought twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

from prism_core.errors import CancelledError
from prism_core.models.buying.arrivals import Task, as_they_arrive
from prism_core.models.generator import BaseGenerator, Generator, Prompts, Request
from prism_core.progress import Cancel
from prism_core.storage import Store, score_key
from prism_core.types import ChoiceScore, Completion, Prompt, Sampling

Measure = Literal["first token", "written"]
WRITTEN_TOKENS, THINKING_TOKENS = 16, 4_096
"""The longest answer of a judge that writes its word, and of one that thinks before it does."""
CERTAIN = 50.0
"""What a word that was not written is less likely by, in nats."""


class Abilities(Protocol):
    """What a probe found out; see `models.remote.probe.Probe`."""

    @property
    def top_logprobs(self) -> int:
        """How many first tokens are reported; 0 for none."""

    @property
    def reasons(self) -> bool:
        """Whether the model thinks before it answers."""


class EndpointModel(Generator, Protocol):
    """A model at an endpoint, as far as a judge needs it; see `RemoteGenerator`."""

    def probe(self) -> Abilities:
        """Return what the model can do."""

    def first_tokens(self, prompts: Prompts, *, cancel: Cancel = None) -> list[Mapping[str, float]]:
        """Return the likeliest first tokens of each answer with their log-probabilities."""


class EndpointLabels(BaseGenerator):
    """A model at an endpoint that scores a few given words: a `Generator` for judges."""

    def __init__(
        self,
        model: EndpointModel,
        store: Store | None = None,
        *,
        workers: int = 8,
        on_arrival: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask nothing yet.

        Args:
            model: the judge.
            store: keeps every judgement; None keeps none.
            workers: requests under way at the same time.
            on_arrival: called after judgements were kept.
        """
        self.model, self.name, self.fingerprint = model, model.name, model.fingerprint
        self.has_system_role = model.has_system_role
        self._store, self._workers, self._on_arrival = store, workers, on_arrival

    def measure(self, labels: Sequence[str]) -> Measure:
        """Return how these words are measured."""
        found = self.model.probe()
        parts = any(b.startswith(a) for a in labels for b in labels if a != b)
        return "first token" if found.top_logprobs and not (found.reasons or parts) else "written"

    def answer(
        self, requests: Sequence[Request], *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Answer as the model does."""
        return self.model.answer(requests, cancel=cancel)

    def score_choices(
        self, prompts: Prompts, choices: Sequence[Sequence[str]], *, cancel: Cancel = None
    ) -> list[list[ChoiceScore]]:
        """Return the log-probability of each word, each as one token; see `measure`."""
        measures = [self.measure(labels) for labels in choices]
        keys = [
            score_key(self.fingerprint, prompt, labels, measure)
            for prompt, labels, measure in zip(prompts, choices, measures, strict=True)
        ]
        known = {} if self._store is None else self._store.get_scores(keys)
        missing = {k: i for i, k in enumerate(keys) if k not in known}  # the same is asked once
        tasks = [
            self._task(key, prompts[i], choices[i], measures[i], cancel)
            for key, i in missing.items()
        ]
        for arrived in as_they_arrive(tasks, self._workers, cancel):
            known |= dict(arrived)
            if arrived and self._store is not None:
                self._store.put_scores(dict(arrived))
            self._on_arrival()
        return [known[key] for key in keys]

    def _task(
        self, key: str, prompt: Prompt, labels: Sequence[str], measure: Measure, cancel: Cancel
    ) -> Task[tuple[str, list[ChoiceScore]]]:
        def ask(hand_on: Callable[[tuple[str, list[ChoiceScore]]], None]) -> None:
            if measure == "first token":
                (tokens,) = self.model.first_tokens([prompt], cancel=cancel)
                values = token_scores(tokens, labels)
            else:
                values = written_scores(self._written(prompt, cancel), labels)
            hand_on((key, [ChoiceScore(value, 1) for value in values]))

        return ask

    def _written(self, prompt: Prompt, cancel: Cancel) -> str:
        most = THINKING_TOKENS if self.model.probe().reasons else WRITTEN_TOKENS
        (answer,) = self.model.generate([prompt], Sampling(max_new_tokens=most), cancel=cancel)
        if answer.finish in ("cancelled", "running"):
            raise CancelledError("judging was stopped on request")
        return answer.text


def token_scores(tokens: Mapping[str, float], labels: Sequence[str]) -> list[float]:
    """Return the log-probability of each word among first tokens; blanks around it do not count."""
    floor = min(tokens.values())
    found = []
    for label in labels:
        shares = [math.exp(p) for token, p in tokens.items() if token.strip() == label]
        found.append(math.log(sum(shares)) if sum(shares) > 0 else floor)
    return found


def written_scores(text: str, labels: Sequence[str]) -> list[float]:
    """Return 0 for the word that a text begins with and -50 for others; all alike for none.

    Short openings as in "The better answer is **B**" are passed over.
    """
    words = "|".join(sorted(map(re.escape, labels), key=len, reverse=True))
    opening = (
        r"\W*(?:(?:(?:the|my)\s+)?(?:better\s+|final\s+)?(?:answer|rating|mark)\W*(?:is)?\W*)?"
    )
    found = re.match(rf"{opening}({words})(?!\w)", text, re.IGNORECASE)
    if found is None:
        return [-math.log(len(labels))] * len(labels)
    said = found[1].lower()
    return [0.0 if label.lower() == said else -CERTAIN for label in labels]
