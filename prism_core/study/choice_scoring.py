"""Which choice a model takes, and how probable it finds the right one.

1. letters: the model sees the lettered choices and is asked for a letter.
2. cloze: it sees the question alone, and each choice's own log-likelihood as the answer's beginning
   counts per token (length-normalised). Small models answer letters at chance, but not this.
3. P(right) is the softmax over those scores: it moves when the choice cannot.
4. Which of the two fits a model is measured on a few of our own questions (`probe_scoring`).
Where given text cannot be scored, as at most endpoints, the question with its lettered choices is:
5. first_token: the letters' probabilities among the likeliest first tokens that are reported, with
   or without a blank before. A letter that is not among them gets the most that it can have.
6. written: the model writes a letter and the grader reads it; there is no P(right) then.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prism_core.errors import InputError
from prism_core.models.chat import encode_prompt
from prism_core.models.generator import Generator
from prism_core.models.local import LocalModel
from prism_core.models.remote.generator import RemoteGenerator
from prism_core.personas.prompts import build_prompt
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.progress import Cancel
from prism_core.scorers.graders import LETTERS
from prism_core.stats import rate_of
from prism_core.study.choices import MEANING, WAYS, ChoiceScores, Way, picked
from prism_core.study.spec import Scoring
from prism_core.tasks import Item, get_task, pick_items
from prism_core.types import Estimate, GateMode, GateReading, Prompt, PromptVariant

PROBE_ITEMS = 24
"""How many questions a probe asks in each way."""
_LEAST = 1e-9
"""Stands for a probability that rounding took away."""


@dataclass(frozen=True)
class ScoringProbe:
    """Which way of scoring fits a model."""

    scoring: Way
    letters: Estimate
    cloze: Estimate
    chance: float

    @property
    def sentence(self) -> str:
        """The choice and its reason, for people."""
        return (
            f"Choices are scored {MEANING[self.scoring]}: on {self.cloze.n} probe questions the "
            f"model got {_share(self.letters)} right by letter and {_share(self.cloze)} by "
            f"log-likelihood; a guess gets {self.chance:.0%}."
        )


def _share(estimate: Estimate) -> str:
    return "an unknown share" if estimate.value is None else f"{estimate.value:.0%}"


def choice_question(item: Item, scoring: Way) -> str:
    """Return the user turn of a choice item, with lettered choices or without."""
    if scoring == "cloze":
        return item.question
    listed = "\n".join(f"{LETTERS[i]}. {c}" for i, c in enumerate(item.choices))
    return f"{item.question}\n\n{listed}\n\nAnswer with the letter alone."


def choice_texts(item: Item, scoring: Way) -> tuple[str, ...]:
    """Return what is scored as the answer: the letters or the choices."""
    return tuple(LETTERS[: len(item.choices)]) if scoring == "letters" else item.choices


def score_choice_items(
    model: Generator,
    variant: PromptVariant,
    items: Sequence[Item],
    scoring: Way,
    *,
    cancel: threading.Event | None = None,
    gates: GateMode = "auto",
) -> list[ChoiceScores]:
    """Score the choices of all items under one variant, whose beginning is read once a batch.

    Of a gated model, `gates` says whether the gate decides or is held.

    Raises:
        InputError: an item has no choices, or a prompt is too long for the model.
        CancelledError: `cancel` was set.
    """
    if scoring not in WAYS:
        raise InputError(f"There is no scoring '{scoring}'; use one of {', '.join(WAYS)}.")
    for item in items:
        if item.kind != "choice":
            raise InputError(f"{item.id} is of kind '{item.kind}'; only choices are scored so.")
    prompts = [
        build_prompt(choice_question(item, scoring), variant, model.has_system_role)
        for item in items
    ]
    if scoring == "first_token":
        return _by_first_token(model, prompts, items, cancel)
    if scoring == "written":
        raise InputError("A letter that the model writes is not scored; it is read by the grader.")
    texts = [choice_texts(item, scoring) for item in items]
    readings: list[GateReading] = []
    if isinstance(model, GatedModel):
        readings = model.readings(prompts, gates, cancel=cancel)
        decided: list[GateMode] = ["open" if r.is_open else "closed" for r in readings]
        scores = model.score_choices(prompts, texts, cancel=cancel, gates=decided)
    else:
        scores = model.score_choices(prompts, texts, cancel=cancel)
    lengths = _prompt_tokens(model, prompts)
    return [
        ChoiceScores(
            tuple(s.logprob for s in row),
            tuple(s.tokens for s in row),
            length,
            readings[i] if readings else None,
        )
        for i, (row, length) in enumerate(zip(scores, lengths, strict=True))
    ]


def _by_first_token(
    model: Generator, prompts: Sequence[Prompt], items: Sequence[Item], cancel: Cancel
) -> list[ChoiceScores]:
    if not isinstance(model, RemoteGenerator):
        raise InputError(f"{model.name} is on this machine: score its choices by 'letters'.")
    tops = model.first_tokens(prompts, cancel=cancel)
    return [letter_scores(top, len(item.choices)) for top, item in zip(tops, items, strict=True)]


def letter_scores(top: Mapping[str, float], choices: int) -> ChoiceScores:
    """Return what the likeliest first tokens say of the letters; empty where none is among them.

    A letter that is missing is at most as likely as the last of them, and as what they leave.
    """
    found: dict[str, float] = {}
    for token, logprob in top.items():
        letter = token.strip()
        found[letter] = found.get(letter, 0.0) + math.exp(logprob)
    letters = LETTERS[:choices]
    if not any(letter in found for letter in letters):
        return ChoiceScores((), ())
    rest = max(1.0 - sum(map(math.exp, top.values())), _LEAST)
    most = min(rest, math.exp(min(top.values())))
    values = tuple(math.log(max(found.get(letter, most), _LEAST)) for letter in letters)
    return ChoiceScores(values, (1,) * choices)


def ways_of(model: Generator, cancel: Cancel = None) -> tuple[Way, ...]:
    """Return in which ways a model's choices can be measured, the best first.

    Raises:
        RemoteError: its endpoint does not answer.
    """
    if not isinstance(model, RemoteGenerator):
        return ("letters", "cloze", "written")
    probe = model.probe(cancel)
    given: tuple[Way, ...] = () if probe.prompt_logprobs == "none" else ("letters", "cloze")
    first: tuple[Way, ...] = ("first_token",) if probe.top_logprobs else ()
    return (*given, *first, "written")


def choose_way(
    model: Generator, asked: Generator, wanted: Scoring, cancel: Cancel = None
) -> tuple[Way, str]:
    """Return how a model's choices are measured, and why as a sentence where that is not plain.

    Args:
        model: whose choices.
        asked: the same, perhaps behind a cache, for the questions that decide.
        wanted: what the spec says.
        cancel: stops the questions.

    Raises:
        InputError: the model cannot be measured in the way that is wanted.
        RemoteError: its endpoint does not answer.
    """
    ways = ways_of(model, cancel)
    if wanted == "auto":
        if "cloze" in ways:
            probe = probe_scoring(asked, cancel=cancel)
            return probe.scoring, probe.sentence
        return ways[0], (
            f"Choices are measured {MEANING[ways[0]]}, since given text cannot be scored at its "
            "endpoint. That is a measure of its own: compare only with what is measured so too."
        )
    if wanted not in ways:
        can = ", ".join(f"'{way}' ({MEANING[way]})" for way in ways)
        raise InputError(
            f"The choices of {model.name} cannot be measured in the way '{wanted}' "
            f"({MEANING[wanted]}). It can be: {can}."
        )
    is_plain = wanted in ("letters", "cloze") and not isinstance(model, RemoteGenerator)
    return wanted, "" if is_plain else f"Choices are measured {MEANING[wanted]}."


def _prompt_tokens(model: Generator, prompts: Sequence[Prompt]) -> list[int]:
    """Return the tokens of each prompt, or 0 where the model is not at hand."""
    base = model.base if isinstance(model, GatedModel) else model
    if not isinstance(base, LocalModel):
        return [0] * len(prompts)
    return [len(encode_prompt(base.tokenizer, prompt)) for prompt in prompts]


def probe_scoring(
    model: Generator, items: Sequence[Item] | None = None, *, cancel: threading.Event | None = None
) -> ScoringProbe:
    """Find out on a few questions, without a persona, which way of scoring fits a model.

    Letters win a tie: they need one pass and are how people read such questions. Without items,
    questions of the embedded suite are asked, all domains alike.

    Raises:
        InputError: there are no items.
        CancelledError: `cancel` was set.
    """
    if items is None:
        knowledge = get_task("knowledge")
        items = pick_items(knowledge, PROBE_ITEMS // len(knowledge.categories), seed=0)
    if not items:
        raise InputError("A probe needs at least one question.")
    found: dict[Way, Estimate] = {}
    ways: tuple[Way, ...] = ("letters", "cloze")
    for way in ways:
        rows = score_choice_items(model, PromptVariant(), items, way, cancel=cancel)
        right = [picked(row, way) == item.answer for row, item in zip(rows, items, strict=True)]
        found[way] = rate_of(right)
    best = max(ways, key=lambda way: found[way].value or 0.0)
    chance = sum(1 / len(item.choices) for item in items) / len(items)
    return ScoringProbe(best, found["letters"], found["cloze"], chance)
