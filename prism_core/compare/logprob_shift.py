"""Where a persona moved an answer: log p(token | persona) - log p(token | neutral), in nats."""

from __future__ import annotations

from dataclasses import dataclass

from prism_core.errors import InputError, ModelError
from prism_core.models.generator import Generator, TokenScorer
from prism_core.personas.prompts import build_prompt, clean_question
from prism_core.types import PromptVariant


@dataclass(frozen=True)
class LogprobShift:
    """How far a persona moved each token of an answer."""

    tokens: tuple[str, ...]
    shifts: tuple[float, ...]
    total: float
    """Sum of the shifts: the log-likelihood ratio of the whole answer."""


def logprob_shift(
    question: str, answer: str, variant: PromptVariant, model: Generator
) -> LogprobShift:
    """Measure where the persona's prompt makes an answer's tokens likelier, by teacher forcing.

    The answer may be any text; usually it is the persona's or the neutral arm's.

    Raises:
        InputError: the variant has no persona, or question or answer is empty.
        ModelError: the model is no `TokenScorer`.
    """
    if variant.persona is None:
        raise InputError("To show where the persona pulled, a persona must be chosen.")
    if not answer.strip():
        raise InputError("The answer is empty, so no token can have been pulled.")
    if not isinstance(model, TokenScorer):
        raise ModelError(
            f"The model '{model.name}' does not tell the probabilities of a given text, so the "
            "persona's pull cannot be shown for it."
        )
    question = clean_question(question)
    prompts = [
        build_prompt(question, variant, model.has_system_role),
        build_prompt(question, PromptVariant(), model.has_system_role),
    ]
    with_persona, neutral = model.score_tokens(prompts, [answer, answer])
    shifts = tuple(p.logprob - n.logprob for p, n in zip(with_persona, neutral, strict=True))
    return LogprobShift(tuple(t.text for t in with_persona), shifts, sum(shifts))


def largest_shifts(shift: LogprobShift, k: int = 8) -> tuple[tuple[str, float], ...]:
    """Return the k tokens that moved furthest, either way, with their shifts; furthest first."""
    ranked = sorted(zip(shift.tokens, shift.shifts, strict=True), key=lambda t: -abs(t[1]))
    return tuple(ranked[:k])
