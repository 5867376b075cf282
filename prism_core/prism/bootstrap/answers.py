"""Stage 2: answer every question twice, with its persona's text and without it.

The pairs of all personas share big batches; both answers of a pair draw with the same seed, so that
they differ by the prompt and not by luck. A batch is a fixed slice of the list of questions: a
resumed stage decodes the very batches that an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from prism_core.errors import CancelledError, InputError, NotFoundError
from prism_core.models.generator import Generator
from prism_core.personas.prompts import build_prompt
from prism_core.prism.records import AnswerPair, Query
from prism_core.progress import Progress
from prism_core.storage import pack, unpack
from prism_core.storage.journal import Journal, begin, seed_of
from prism_core.types import Length, Persona, Placement, Prompt, PromptVariant, Sampling
from prism_core.utils.validation import check

STAGE = "answers"

ANSWERING = Sampling(max_new_tokens=256, temperature=0.7, top_p=0.95)
"""How answers are drawn where nothing else is asked for."""


@dataclass(frozen=True)
class AnswerConfig:
    """How questions are answered."""

    length: Length = "long"
    placement: Placement = "system"
    """The turn that carries the persona's text, where the model has a system turn."""
    sampling: Sampling = ANSWERING
    seed: int = 0
    batch_pairs: Annotated[int, Field(ge=1, le=512)] = 64
    """Pairs answered, and journaled, together: twice as many rows."""


def answer_queries(
    config: AnswerConfig,
    queries: Sequence[Query],
    personas: Mapping[str, Persona],
    model: Generator,
    journal: Journal,
    progress: Progress,
    *,
    neutral: Generator | None = None,
) -> list[AnswerPair]:
    """Answer every question with its persona and without (PRISM, stage 2).

    In later rounds `neutral`, the student with its adapter on, answers without the persona. The
    pairs are in the order of the questions.

    Raises:
        InputError: a setting is not allowed, a question comes twice or is too long for the model,
            or the stage was begun with other settings.
        NotFoundError: a question names a persona that is not among the inputs.
        CancelledError: stopped on request; finished batches are in the journal.
    """
    _check(config, queries, personas)
    prompts = {}
    for query in queries:
        variant = PromptVariant(personas[query.persona], config.length, config.placement)
        prompts[query.id] = (
            build_prompt(query.text, variant, model.has_system_role),
            build_prompt(query.text, PromptVariant(), (neutral or model).has_system_role),
        )
    who = [model.fingerprint, (neutral or model).fingerprint]
    texts = [[pair[0], pair[1]] for pair in prompts.values()]
    parts = begin(journal, STAGE, config, list(prompts), texts, who)
    done = {key: unpack(AnswerPair, part) for key, part in parts.items()}
    progress.update(STAGE, len(done), len(queries), "answering with and without the persona")
    for start in range(0, len(queries), config.batch_pairs):
        batch = queries[start : start + config.batch_pairs]
        if all(q.id in done for q in batch):
            continue
        progress.check()
        pairs = _answer(config, batch, prompts, model, neutral, progress)
        journal.save(STAGE, {pair.query.id: pack(pair) for pair in pairs})
        done |= {pair.query.id: pair for pair in pairs}
        progress.update(STAGE, len(done), len(queries), f"{len(done)} of {len(queries)} pairs")
    return [done[q.id] for q in queries]


def _answer(
    config: AnswerConfig,
    batch: Sequence[Query],
    prompts: Mapping[str, tuple[Prompt, Prompt]],
    model: Generator,
    neutral: Generator | None,
    progress: Progress,
) -> list[AnswerPair]:
    """Answer one batch of pairs; in one call where one model gives both answers."""
    seeds = [seed_of(config.seed, STAGE, query.id) for query in batch]
    acting = [prompts[query.id][0] for query in batch]
    bare = [prompts[query.id][1] for query in batch]
    if neutral is None:
        answers = model.generate(
            acting + bare, config.sampling, seeds + seeds, cancel=progress.cancel
        )
    else:
        answers = model.generate(acting, config.sampling, seeds, cancel=progress.cancel)
        progress.check()  # no use in starting the other side of a batch that is thrown away
        answers += neutral.generate(bare, config.sampling, seeds, cancel=progress.cancel)
    if any(a.finish in ("cancelled", "running") for a in answers):
        raise CancelledError("stopped while answers were being written")
    half = len(batch)
    return [AnswerPair(*row) for row in zip(batch, answers[:half], answers[half:], strict=True)]


def _check(config: AnswerConfig, queries: Sequence[Query], personas: Mapping[str, Persona]) -> None:
    check(config)
    if not queries:
        raise InputError("There is no question to answer; at least one is needed.")
    ids = [query.id for query in queries]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise InputError(f"Two questions have the id '{twice}'; every id must be unique.")
    for query in queries:
        if query.persona not in personas:
            raise NotFoundError(
                f"Question '{query.id}' is for persona '{query.persona}', which is not among "
                f"{', '.join(personas) or 'the inputs (there are none)'}."
            )
