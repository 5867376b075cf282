"""Stage 1: write the questions that each persona's expertise would serve.

Each draft asks for one question about one sub-topic, and the answer is begun for the model with a
quotation mark and an opener ("How do I"): small models then write a question instead of talking
about one. Sub-topics, openers and seeds rotate, so that 50 questions are 50 different ones. All
personas share batches. Unusable drafts and near-duplicates are counted and replaced in further
rounds; what is still missing after the last is reported as a shortfall.

Departure from the paper: sub-topics and openers; a 135M model repeats itself without them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from prism_core.errors import CancelledError, InputError
from prism_core.models.generator import Generator
from prism_core.prism.bootstrap.query_text import (
    REASONS,
    Reason,
    content_words,
    is_near_duplicate,
    parse_draft,
)
from prism_core.prism.records import Query
from prism_core.progress import Progress
from prism_core.storage.journal import Journal, begin, seed_of
from prism_core.types import Message, Persona, Prompt, Sampling
from prism_core.utils.validation import check

STAGE = "queries"

OPENERS = (
    "How do I",
    "What is the",
    "Can you explain",
    "Why do",
    "Write a",
    "How does",
    "What are",
    "Give me an example of",
    "What happens when",
    "Which",
    "Help me",
    "What should I",
    "Is it true that",
)
"""Beginnings put into the model's mouth, in turn."""

DRAFTING = Sampling(max_new_tokens=40, temperature=0.8, top_p=0.95)
"""How drafts are drawn where nothing else is asked for."""

_ASK = "Ask me a question about {topic}."
_BEGIN = 'Here is my question about {topic}: "{opener}'
_ASK_PLAINLY = (
    "Write one question or request that a user could send to an assistant. Field: {domain}. "
    "Topic: {topic}. Begin with '{opener}'. Reply with the question alone, in one or two sentences."
)


@dataclass(frozen=True)
class QueryConfig:
    """How questions are written."""

    per_persona: Annotated[int, Field(ge=1, le=1_000)] = 50
    seed: int = 0
    sampling: Sampling = DRAFTING
    """How drafts are drawn; the temperature must be above 0."""
    similarity: Annotated[float, Field(ge=0.1, le=1)] = 0.6
    """Two questions that share this part of their content words are near-duplicates."""
    max_words: Annotated[int, Field(ge=5, le=400)] = 60
    rounds: Annotated[int, Field(ge=1, le=50)] = 5
    spare: Annotated[float, Field(ge=1, le=5)] = 1.3
    """Drafts written for each missing question in a round."""
    batch_rows: Annotated[int, Field(ge=1, le=512)] = 64
    """Drafts decoded, and journaled, together."""


@dataclass(frozen=True)
class PersonaQueries:
    """How the writing went for one persona."""

    persona: str
    asked: int
    written: int
    kept: int
    dropped: Mapping[str, int]
    """Unusable drafts by `Reason`."""

    @property
    def shortfall(self) -> int:
        """How many questions are missing after the last round."""
        return self.asked - self.kept


@dataclass(frozen=True)
class QuerySet:
    """The questions of all personas, and what was dropped on the way."""

    queries: tuple[Query, ...]
    counts: tuple[PersonaQueries, ...]

    @property
    def shortfall(self) -> int:
        """How many questions are missing over all personas."""
        return sum(c.shortfall for c in self.counts)


@dataclass(frozen=True)
class _Slot:
    """One draft to be written; its opener is empty where the model writes that itself."""

    persona: str
    index: int
    topic: str
    prompt: Prompt
    opener: str


class _Tally:
    """One persona's drafts so far: what was kept, and why the others were not."""

    def __init__(self, persona: Persona, config: QueryConfig) -> None:
        self.persona, self.config = persona, config
        self.planned = 0
        self.written = 0
        self.kept: list[Query] = []
        self.dropped: dict[Reason, int] = dict.fromkeys(REASONS, 0)
        self._words: list[frozenset[str]] = []

    @property
    def missing(self) -> int:
        return self.config.per_persona - len(self.kept)

    def plan(self, can_continue: bool) -> list[_Slot]:
        """Lay out the next round: topics in turn, openers shifted by one a cycle of topics."""
        persona, topics = self.persona, self.persona.subtopics or (self.persona.domain,)
        # Where a persona begins depends on the seed, so that its few first questions do too.
        start = seed_of(self.config.seed, persona.name)
        slots = []
        for _ in range(math.ceil(self.missing * self.config.spare)):
            i, self.planned = self.planned, self.planned + 1
            topic = topics[(start + i) % len(topics)]
            opener = OPENERS[(start // 64 + i + i // len(topics)) % len(OPENERS)]
            prompt = query_prompt(persona, topic, opener, can_continue)
            slots.append(_Slot(persona.name, i, topic, prompt, opener if can_continue else ""))
        return slots

    def add(self, slot: _Slot, written: str, is_cut: bool) -> None:
        """Keep a draft or count why not; beyond the number wanted only unusable ones count."""
        self.written += 1
        config = self.config
        draft = parse_draft(written, slot.opener, is_cut=is_cut, words=config.max_words)
        reason = draft.reason
        if reason is None and is_near_duplicate(draft.text, self._words, config.similarity):
            reason = "near_duplicate"
        if reason is not None:
            self.dropped[reason] += 1
        elif self.missing:
            digest = hashlib.sha256(draft.text.encode()).hexdigest()[:10]
            query = Query(f"{slot.persona}-{digest}", slot.persona, slot.topic, draft.text)
            self.kept.append(query)
            self._words.append(content_words(draft.text))

    def counts(self) -> PersonaQueries:
        wanted = self.config.per_persona
        dropped = {str(reason): n for reason, n in self.dropped.items()}
        return PersonaQueries(self.persona.name, wanted, self.written, len(self.kept), dropped)


def write_queries(
    config: QueryConfig,
    personas: Sequence[Persona],
    model: Generator,
    journal: Journal,
    progress: Progress,
) -> QuerySet:
    """Have the model write questions for every persona (PRISM, stage 1).

    A model that continues a begun answer (`continues_answers`) writes better ones.

    Raises:
        InputError: a setting is not allowed, or the stage was begun with other settings.
        CancelledError: stopped on request; finished batches are in the journal.
    """
    _check(config, personas)
    who = [(p.name, p.domain, p.subtopics) for p in personas]
    parts = begin(journal, STAGE, config, who, model.fingerprint)
    tallies = {p.name: _Tally(p, config) for p in personas}
    can_continue = bool(getattr(model, "continues_answers", False))
    total = config.per_persona * len(personas)
    for turn in range(config.rounds):
        plan = [slot for tally in tallies.values() for slot in tally.plan(can_continue)]
        for start in range(0, len(plan), config.batch_rows):
            batch, key = plan[start : start + config.batch_rows], f"{turn}/{start}"
            if key not in parts:
                progress.check()
                parts[key] = _write(config, batch, model, progress)
                journal.save(STAGE, {key: parts[key]})
            for slot, row in zip(batch, parts[key], strict=True):
                tallies[slot.persona].add(slot, row["text"], row["cut"])
            kept = sum(len(t.kept) for t in tallies.values())
            progress.update(STAGE, kept, total, f"round {turn + 1}: {kept} of {total} questions")
    return QuerySet(
        tuple(query for t in tallies.values() for query in t.kept),
        tuple(t.counts() for t in tallies.values()),
    )


def query_prompt(persona: Persona, topic: str, opener: str, can_continue: bool) -> Prompt:
    """Build what the writer reads for one draft, which it continues if it can."""
    if not can_continue:
        text = _ASK_PLAINLY.format(domain=persona.domain, topic=topic, opener=opener)
        return (Message("user", text),)
    ask = Message("user", _ASK.format(topic=topic))
    return (ask, Message("assistant", _BEGIN.format(topic=topic, opener=opener)))


def _write(
    config: QueryConfig, batch: Sequence[_Slot], model: Generator, progress: Progress
) -> list[dict[str, Any]]:
    """Write one batch of drafts, as plain records."""
    prompts = [s.prompt for s in batch]
    seeds = [seed_of(config.seed, STAGE, s.persona, s.index) for s in batch]
    answers = model.generate(prompts, config.sampling, seeds, cancel=progress.cancel)
    if any(a.finish == "cancelled" for a in answers):
        raise CancelledError("stopped while questions were being written")
    return [{"text": a.text, "cut": a.finish == "length"} for a in answers]


def _check(config: QueryConfig, personas: Sequence[Persona]) -> None:
    check(config)
    if config.sampling.temperature <= 0:
        raise InputError(
            "temperature is 0; questions need a temperature above 0, or they are all alike."
        )
    names = [p.name for p in personas]
    if not names:
        raise InputError("No persona was given; choose at least one.")
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"Persona '{twice[0]}' was given twice; name each once.")
