"""What a set of verdicts says: who wins, how often, and whether length decided.

Every verdict is one independent item. A tie counts half, so a judge that follows the place of an
answer alone, and is therefore undecided under the paper's rule, shows no winner.
"""

from __future__ import annotations

from collections.abc import Sequence

from prism_core.errors import InputError
from prism_core.stats import mean_of, order_consistency, spearman
from prism_core.types import Estimate, Verdict, Winner

__all__ = [
    "first_preference",
    "order_consistency",
    "verbosity_correlation",
    "win_rate",
    "win_score",
]

_SCORES: dict[Winner, float] = {"persona": 1.0, "tie": 0.5, "neutral": 0.0}


def win_score(verdict: Verdict) -> float:
    """Return 1 where the persona won, 1/2 for a tie, else 0."""
    return _SCORES[verdict.winner]


def win_rate(verdicts: Sequence[Verdict]) -> Estimate:
    """Estimate the persona's mean score, a tie counting half; 1/2 means no difference."""
    return mean_of([win_score(v) for v in verdicts], bounds=(0.0, 1.0))


def first_preference(verdicts: Sequence[Verdict]) -> Estimate:
    """Estimate how often the answer shown first was chosen, over both orders; 1/2 is even."""
    shares = [(_chosen(v.persona_first) + _chosen(1 - v.persona_second)) / 2 for v in verdicts]
    return mean_of(shares, bounds=(0.0, 1.0))


def verbosity_correlation(
    verdicts: Sequence[Verdict], persona_lengths: Sequence[float], neutral_lengths: Sequence[float]
) -> Estimate:
    """Correlate winning with being longer (verbosity bias), by Spearman's coefficient.

    Lengths are in one unit, tokens or words. Undefined where all verdicts or all differences are
    alike.

    Raises:
        InputError: the three lists differ in length.
    """
    if not len(verdicts) == len(persona_lengths) == len(neutral_lengths):
        raise InputError(
            f"There are {len(verdicts)} verdicts, {len(persona_lengths)} persona lengths and "
            f"{len(neutral_lengths)} neutral lengths; all three must be as many."
        )
    longer = [p - n for p, n in zip(persona_lengths, neutral_lengths, strict=True)]
    return spearman([win_score(v) for v in verdicts], longer)


def _chosen(probability: float) -> float:
    """Return 1 or 0, or 1/2 where neither was preferred."""
    return 1.0 if probability > 0.5 else 0.0 if probability < 0.5 else 0.5
