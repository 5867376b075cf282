"""Forecast how long a training run takes and how much memory it needs, from a short probe.

Each stage's tokens are counted from the choices and divided by a measured speed. Two things cannot
be known beforehand: how long answers become, and how many of them win. So every time is a range:
from answers of half the allowed length of which a quarter wins, to full length and all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from prism_core.errors import InputError
from prism_core.prism.spec import TrainSpec
from prism_core.utils.memory import CACHE_BYTES

StageName = Literal[
    "queries", "answers", "judge check", "verification", "gate", "distillation", "comparison"
]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""The stages of a run, in order."""
_CHECK_PAIRS = 40
_CHECK_TOKENS = 260
"""Tokens of one judge's prompt in the check."""
_QUERY_TOKENS = 40
_QUERY_SPARE = 1.3
_QUESTION_TOKENS = 45
"""A question in its chat template."""
_PERSONA_TOKENS = {"min": 10, "short": 85, "long": 165}
_JUDGE_TOKENS = 130
"""A judge's prompt without question and answers."""
_DECODED_SYSTEMS = 7
"""Systems of the comparison whose answers have to be decoded."""
_SHORT, _FEW = 0.5, 0.25
MICRO_TOKENS = 2_048
"""Padded tokens of a training step that are in memory together."""


@dataclass(frozen=True)
class SpeedProbe:
    """What a model did in a few seconds on this machine."""

    model: str
    fingerprint: str
    rows: int
    decode_rate: float
    """Tokens a second, all rows together."""
    read_rate: float
    train_rate: float
    """Tokens a second through a distillation step, forwards and backwards."""
    resident_bytes: int
    """Memory with the model loaded and nothing at work."""
    cell_bytes: int
    """Memory that the key-value cache takes for one token."""
    train_bytes: int
    """Memory that one token of a training step took on top."""
    seconds: float


@dataclass(frozen=True)
class Span:
    """A range of seconds."""

    low: float
    """If answers are short and few win."""
    high: float
    """If they are as long as allowed and all win."""


@dataclass(frozen=True)
class StageForecast:
    """What one stage will do; its time is None before the machine was measured."""

    stage: StageName
    sentence: str
    time: Span | None


@dataclass(frozen=True)
class TrainForecast:
    """What a whole run will do; time and memory are None before the machine was measured."""

    stages: tuple[StageForecast, ...]
    queries: int
    answers: int
    time: Span | None
    memory_bytes: int | None
    sentence: str


@dataclass(frozen=True)
class _Counts:
    """How much there is to do, for one assumption on lengths and wins."""

    queries: int
    answer: float  # tokens
    persona: int  # tokens
    wins: float  # the share of answers that are distilled

    @property
    def student_tokens(self) -> float:
        return _QUESTION_TOKENS + self.answer


def forecast_training(
    spec: TrainSpec, probe: SpeedProbe | None, *, queries: int | None = None
) -> TrainForecast:
    """Say what a run will do, and how long it takes once the machine was measured.

    `queries` says how many questions there are, where they are given (the demo).

    Raises:
        InputError: there is no persona and no question.
    """
    people = _people(spec)
    number = people * spec.queries_per_persona if queries is None else queries
    if number < 1:
        raise InputError("Without a persona there is nothing to do; choose at least one.")
    persona = _PERSONA_TOKENS[spec.length]
    ends = (
        _Counts(number, spec.answer_tokens * _SHORT, persona, _FEW),
        _Counts(number, spec.answer_tokens, persona, 1.0),
    )
    written = queries is None
    stages = []
    for stage, sentence in _sentences(spec, number, written):
        time = None
        if probe is not None:
            time = Span(*(_seconds(stage, spec, counts, probe, written) for counts in ends))
        stages.append(StageForecast(stage, sentence, time))
    answers = 2 * number * spec.rounds
    if probe is None:
        line = "Measure this machine to see how long it will take."
        return TrainForecast(tuple(stages), number, answers, None, None, line)
    times = [s.time for s in stages if s.time is not None]
    total = Span(sum(t.low for t in times), sum(t.high for t in times))
    memory = _memory(spec, number, probe)
    line = f"About {span_text(total)}, and about {memory / 1e9:.1f} GB of memory at the peak."
    return TrainForecast(tuple(stages), number, answers, total, memory, line)


def span_text(span: Span) -> str:
    """Write a range of seconds for people: `2 to 5 min`, `under 10 s`, `1.5 to 3 h`."""
    if span.high < 10:
        return "under 10 s"
    unit, name, digits = 3_600, "h", 1
    if span.high < 5_400:
        unit, name, digits = (1, "s", 0) if span.high < 90 else (60, "min", 0)
    first, last = (f"{end / unit:.{digits}f}" for end in (span.low, span.high))
    if first == last:
        return f"{last} {name}"
    return f"up to {last} {name}" if float(first) == 0 else f"{first} to {last} {name}"


def _people(spec: TrainSpec) -> int:
    return len(spec.personas) + len(spec.own_personas)


def _sentences(spec: TrainSpec, number: int, written: bool) -> list[tuple[StageName, str]]:
    people = _people(spec)
    judge = {
        "self": "The model itself",
        "remote": f"The remote model {spec.remote_model}",
        "verifiable": "A program",
    }[spec.judge]
    check = (
        f"{judge} is tried on {_CHECK_PAIRS} pairs whose better answer is known."
        if spec.judge != "verifiable"
        else "A program judges, so there is nothing to check."
    )
    asked = (
        f"The model writes {spec.queries_per_persona} for each of {people} "
        f"persona{'' if people == 1 else 's'}: {number} in all."
        if written
        else f"{number} questions come with the demo, wanted and unwanted ones."
    )
    held = f"{spec.held_out_share:.0%}"
    again = f" Stages 2 to 5 are done {spec.rounds} times." if spec.rounds > 1 else ""
    return [
        ("queries", asked),
        (
            "answers",
            f"Each question is answered with and without the persona: {2 * number} answers of at "
            f"most {spec.answer_tokens} tokens.{again}",
        ),
        ("judge check", check),
        (
            "verification",
            f"{judge} compares every pair in both orders. Where the persona wins in both, its "
            "answer is distilled; all others are retained.",
        ),
        (
            "gate",
            f"A small network learns when a persona helps; {held} of the topics are held out.",
        ),
        (
            "distillation",
            f"A LoRA of rank {spec.rank} learns the winning answers, {spec.epochs} "
            f"time{'' if spec.epochs == 1 else 's'} over, without the persona's text.",
        ),
        ("comparison", "Base, persona prompt, PRISM and others answer the held-out questions."),
    ]


def _seconds(
    stage: StageName, spec: TrainSpec, counts: _Counts, probe: SpeedProbe, written: bool
) -> float:
    """Return the seconds of one stage for one assumption."""
    rounds = spec.rounds
    if stage == "judge check":
        known = _CHECK_PAIRS * 2 * _CHECK_TOKENS
        return 0.0 if spec.judge == "verifiable" else known / probe.read_rate
    if stage == "queries":
        drafts = counts.queries * _QUERY_SPARE if written else 0
        return _decoding(drafts, _QUERY_TOKENS, _QUESTION_TOKENS, probe)
    if stage == "answers":
        prompt = _QUESTION_TOKENS + counts.persona / 2
        return rounds * _decoding(2 * counts.queries, counts.answer, prompt, probe)
    if stage == "verification":
        if spec.judge == "verifiable":
            return 0.0
        judged = 2 * counts.queries * (_JUDGE_TOKENS + 2 * counts.answer)
        return rounds * judged / probe.read_rate
    if stage == "gate":
        # Layer 0 alone is read; the small network itself takes seconds.
        return rounds * (5.0 + counts.queries * _QUESTION_TOKENS / (10 * probe.read_rate))
    if stage == "distillation":
        return rounds * _distilling(spec, counts, probe)
    held_out = counts.queries * spec.held_out_share
    answered = _decoding(held_out * _DECODED_SYSTEMS, counts.answer, _QUESTION_TOKENS, probe)
    judged = held_out * _DECODED_SYSTEMS * 2 * (_JUDGE_TOKENS + 2 * counts.answer)
    return answered + (0.0 if spec.judge == "verifiable" else judged / probe.read_rate)


def _decoding(rows: float, tokens: float, prompt: float, probe: SpeedProbe) -> float:
    """Return the seconds to read the prompts of some rows and to decode their answers."""
    if rows <= 0:
        return 0.0
    # Fewer rows than were measured together do not go faster each: time is that of the steps.
    rate = probe.decode_rate * min(1.0, rows / probe.rows)
    return rows * prompt / probe.read_rate + rows * tokens / rate


def _distilling(spec: TrainSpec, counts: _Counts, probe: SpeedProbe) -> float:
    won = counts.queries * counts.wins
    trained = won * (1 - spec.held_out_share)
    teacher = won * (counts.student_tokens + counts.persona) / probe.read_rate
    return teacher + spec.epochs * trained * counts.student_tokens / probe.train_rate


def _memory(spec: TrainSpec, queries: int, probe: SpeedProbe) -> int:
    """Add to model and program the larger of decoding's cache and a training step; bytes."""
    width = _QUESTION_TOKENS + _PERSONA_TOKENS[spec.length] + spec.answer_tokens
    rows = min(128, 2 * queries)
    cache = min(CACHE_BYTES, rows * width * probe.cell_bytes)
    step = min(MICRO_TOKENS, spec.batch_size * min(width, spec.max_tokens)) * probe.train_bytes
    return int(probe.resident_bytes + max(cache, step))
