"""Stage 3: does the persona help? Each pair is judged in both orders.

1. The judge first decides pairs whose better answer is known; the result stays with its verdicts.
2. The persona wins only where it is chosen in both orders: `distill`, else `retain`.
3. The report shows how far the verdicts can be trusted: order consistency, ties, and the
   correlation of winning with being longer (verbosity bias).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from prism_core.prism.records import AnswerPair, JudgedPair
from prism_core.prism.spec import JudgeName
from prism_core.progress import Progress
from prism_core.scorers.judge_check import JudgeCheck, check_judge
from prism_core.scorers.judges import Judge, JudgePair, JudgeRule, ModelJudge, VerifiableJudge
from prism_core.scorers.verdicts import order_consistency, verbosity_correlation
from prism_core.stats import rate_of
from prism_core.storage import pack, unpack
from prism_core.storage.journal import Journal, begin
from prism_core.types import Estimate, Verdict
from prism_core.utils.validation import check

STAGE = "verification"
CHECK_STAGE = "judge_check"


@dataclass(frozen=True)
class VerifyConfig:
    """How pairs are judged."""

    judge: JudgeName = "self"
    """The model itself (the paper's), a program that checks answers, or a remote model."""
    rule: JudgeRule = "both_orders"
    """How two orders become a verdict: the paper's rule, the only one."""
    check_first: bool = True
    """Whether a model that judges is first tried on pairs with a known better answer."""
    batch_pairs: Annotated[int, Field(ge=1, le=1024)] = 64
    """Pairs judged, and journaled, together."""


@dataclass(frozen=True)
class RouteCount:
    """How many of one persona's queries go where, and the share that is distilled."""

    persona: str
    distill: int
    retain: int
    share: Estimate


@dataclass(frozen=True)
class VerificationReport:
    """What the verdicts say, and how far they can be trusted."""

    routes: tuple[RouteCount, ...]
    distill: Estimate
    ties: Estimate
    """Share of pairs without a winner; they are retained."""
    order_consistency: Estimate
    """Share of pairs where both orders chose the same answer."""
    verbosity: Estimate
    """Spearman's correlation of winning with being longer, in tokens."""
    check: JudgeCheck | None
    """The judge on pairs with a known better answer; None where a program decides."""
    warning: str


def verify_pairs(
    config: VerifyConfig,
    pairs: Sequence[AnswerPair],
    judge: Judge,
    journal: Journal,
    progress: Progress,
) -> list[JudgedPair]:
    """Judge every pair in both orders, after the judge check (PRISM, stage 3).

    Raises:
        InputError: a pair is too long for the judge, or the stage was begun with other settings.
        CancelledError: stopped on request; finished batches are in the journal.
    """
    check(config)
    who = judge.model.fingerprint if isinstance(judge, ModelJudge) else type(judge).__name__
    asked = [(p.query.id, p.query.text, p.persona.text, p.neutral.text) for p in pairs]
    parts = begin(journal, STAGE, config, asked, who)
    if config.check_first and not isinstance(judge, VerifiableJudge):
        _check_once(config, judge, who, journal, progress)
    done = {key: unpack(Verdict, part) for key, part in parts.items()}
    for start in range(0, len(pairs), config.batch_pairs):
        batch = pairs[start : start + config.batch_pairs]
        if all(p.query.id in done for p in batch):
            continue
        progress.check()
        progress.update(STAGE, len(done), len(pairs), "judging both orders")
        judged = [JudgePair(p.query.text, p.persona.text, p.neutral.text) for p in batch]
        verdicts = judge.judge(judged, cancel=progress.cancel)
        progress.check()  # a remote judge's last answers may have been cut short
        fresh = {p.query.id: v for p, v in zip(batch, verdicts, strict=True)}
        journal.save(STAGE, {key: pack(v) for key, v in fresh.items()})
        done |= fresh
        progress.update(STAGE, len(done), len(pairs), f"{len(done)} of {len(pairs)} pairs")
    return [JudgedPair(pair, done[pair.query.id]) for pair in pairs]


def load_judge_check(journal: Journal) -> JudgeCheck | None:
    """Return the judge check of a run, or None where none was made (yet)."""
    part = journal.load(CHECK_STAGE).get("check")
    return None if part is None else unpack(JudgeCheck, part)


def verification_report(
    judged: Sequence[JudgedPair], check: JudgeCheck | None = None
) -> VerificationReport:
    """Summarise verdicts and the judge check; one pair is one independent item."""
    verdicts = [j.verdict for j in judged]
    verbosity = verbosity_correlation(
        verdicts, [j.pair.persona.tokens for j in judged], [j.pair.neutral.tokens for j in judged]
    )
    wins: dict[str, list[bool]] = {}
    for one in judged:
        wins.setdefault(one.pair.query.persona, []).append(one.route == "distill")
    return VerificationReport(
        routes=tuple(
            RouteCount(name, sum(won), len(won) - sum(won), rate_of(won))
            for name, won in wins.items()
        ),
        distill=rate_of([j.route == "distill" for j in judged]),
        ties=rate_of([v.winner == "tie" for v in verdicts]),
        order_consistency=order_consistency(verdicts),
        verbosity=verbosity,
        check=check,
        warning=_warning(judged, verbosity, check),
    )


def _warning(judged: Sequence[JudgedPair], verbosity: Estimate, check: JudgeCheck | None) -> str:
    """Say in plain sentences what the verdicts cannot carry."""
    sentences = [check.warning] if check is not None and check.warning else []
    if verbosity.low is not None and verbosity.low > 0:
        sentences.append(
            f"Longer answers win more often (correlation {verbosity.value:.2f}): "
            "the judge may reward length."
        )
    wins = sum(j.route == "distill" for j in judged)
    if judged and wins in (0, len(judged)):
        what = "No persona answer won" if wins == 0 else "Every persona answer won"
        sentences.append(f"{what}: a gate cannot be trained on one class alone.")
    return " ".join(sentences)


def _check_once(
    config: VerifyConfig, judge: Judge, who: str, journal: Journal, progress: Progress
) -> None:
    """Run the judge check unless this run has it already."""
    if "check" in begin(journal, CHECK_STAGE, config.rule, who):
        return
    progress.update(CHECK_STAGE, 0, 1, "trying the judge on pairs with a known better answer")
    found = check_judge(judge, cancel=progress.cancel)
    progress.check()
    journal.save(CHECK_STAGE, {"check": pack(found)})
    progress.update(CHECK_STAGE, 1, 1, found.warning or "the judge finds the better answer")
