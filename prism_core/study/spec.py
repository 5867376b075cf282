"""What a person chooses before a study, as plain data.

A study crosses tasks with cells: the neutral prompt, every persona at every length and placement,
and every adapter with its gate. A `StudySpec` is stored with the run and inside the study's file,
so that a result always says how it was made. Its form as YAML is in `study_yaml`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from prism_core.errors import InputError
from prism_core.types import LENGTHS, PLACEMENTS, Length, Placement

Scoring = Literal["auto", "letters", "cloze"]
Executor = Literal["local", "ray"]
Judgement = Literal["pairwise", "rubric", "refusal"]
SCORINGS: tuple[Scoring, ...] = get_args(Scoring)
EXECUTORS: tuple[Executor, ...] = get_args(Executor)
JUDGEMENTS: tuple[Judgement, ...] = get_args(Judgement)

MAX_CELLS = 5_000
"""Cells of one model; more cannot be read by anybody."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class AdapterArm:
    """A distilled adapter that answers in the study, gate on."""

    reference: str
    """A shipped adapter's name, a training run's id, or a bundle's folder."""
    threshold: float | None = None
    """The gate opens at this probability; None takes the adapter's own threshold."""


@dataclass(frozen=True)
class TaskLimit:
    """What one task needs differently from the others."""

    task: str
    """The task's name."""
    n_per_category: int | None = None
    """Items of each of its categories; None takes the study's number."""
    max_new_tokens: int | None = None
    """The longest answer to one of its items; None takes the study's number."""


@dataclass(frozen=True)
class StudySpec:
    """One study's choices."""

    name: str = "My study"
    """The study's name."""
    tasks: tuple[str, ...] = ("knowledge", "open", "safety")
    """Names of tasks, see `prism_core.tasks`."""
    limits: tuple[TaskLimit, ...] = ()
    """What single tasks need differently."""
    personas: tuple[str, ...] = ()
    """Names of personas of the library, controls included."""
    own_personas: tuple[str, ...] = ()
    """A visitor's own personas as YAML, in addition to the library's."""
    lengths: tuple[Length, ...] = ("long",)
    """Which of the personas' texts are used."""
    placements: tuple[Placement, ...] = ("system",)
    """The turns that carry a persona's text."""
    adapters: tuple[AdapterArm, ...] = ()
    """Adapters that answer too."""
    sweep: bool = False
    """Whether each adapter also answers with its gate held open, so that any threshold is known."""
    models: tuple[str, ...] = ("embedded",)
    """References of models; see `prism_core.models.weights`, or `remote:NAME`."""
    n_per_category: int = 20
    """Items of each category; 0 takes all there are."""
    item_seed: int = 0
    """Seed of the choice of items; a larger number of items holds the smaller one."""
    seeds: tuple[int, ...] = (0,)
    """Every written answer is drawn once for each; they are repeats of one item."""
    max_new_tokens: int = 128
    """The longest answer."""
    temperature: float = 0.0
    """See `Sampling`; 0 takes the most probable token, and one seed is then enough."""
    top_p: float = 1.0
    """See `Sampling`."""
    scoring: Scoring = "auto"
    """How choices are scored: by letters, by the answers' own likelihood, or by a probe."""
    judges: tuple[str, ...] = ()
    """Who judges written answers: nobody, `self`, a model's reference, or `remote:NAME`."""
    judgements: tuple[Judgement, ...] = ("pairwise",)
    """What the judge is asked for."""
    delta: float = 0.05
    """The largest loss against neutral that is still called no worse; chosen before the start."""
    executor: Executor = "local"
    """Whether cells run in this process or on a Ray cluster."""

    def items_of(self, task: str) -> int:
        """Items of each category of a task; 0 for all."""
        own = self._limit(task)
        return (
            self.n_per_category
            if own is None or own.n_per_category is None
            else (own.n_per_category)
        )

    def tokens_of(self, task: str) -> int:
        """The longest answer to an item of a task."""
        own = self._limit(task)
        return (
            self.max_new_tokens
            if own is None or own.max_new_tokens is None
            else (own.max_new_tokens)
        )

    def _limit(self, task: str) -> TaskLimit | None:
        return next((limit for limit in self.limits if limit.task == task), None)


RANGES: tuple[tuple[str, float, float], ...] = (
    ("n_per_category", 0, 5_000),
    ("item_seed", 0, 2**31 - 1),
    ("max_new_tokens", 1, 4_096),
    ("temperature", 0.0, 5.0),
    ("top_p", 0.01, 1.0),
    ("delta", 0.001, 0.5),
)
"""What a spec's numbers may be: field, least, most."""


def check_spec(spec: StudySpec) -> StudySpec:
    """Refuse choices that cannot be run, as far as the spec alone shows it.

    Raises:
        InputError: a choice is not allowed; the message quotes it and says what is.
    """
    _check_title(spec.name)
    for field, low, high in RANGES:
        _check_range(field, getattr(spec, field), low, high)
    for field in ("tasks", "personas", "lengths", "placements", "models", "seeds", "judgements"):
        _check_unique(field, getattr(spec, field))
    _check_words("lengths", spec.lengths, LENGTHS)
    _check_words("placements", spec.placements, PLACEMENTS)
    _check_words("scoring", (spec.scoring,), SCORINGS)
    _check_words("executor", (spec.executor,), EXECUTORS)
    _check_words("judgements", spec.judgements, JUDGEMENTS)
    for field in ("tasks", "models", "seeds"):
        if not getattr(spec, field):
            raise InputError(f"{field} is empty; a study needs at least one.")
    _check_people(spec)
    _check_adapters(spec)
    _check_limits(spec)
    _check_repeats(spec)
    return spec


def _check_title(name: str) -> None:
    if not 0 < len(name.strip()) <= 120 or not name.isprintable():
        raise InputError(f"name is {name[:60]!r}; it must be 1 to 120 printable characters.")


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"{field} is {value}; it must lie between {low:g} and {high:g}.")


def _check_unique(field: str, values: tuple[Any, ...]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise InputError(f"{field} holds {str(value)[:60]!r} twice; once is enough.")


def _check_words(field: str, words: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    for word in words:
        if word not in allowed:
            raise InputError(
                f"{field} holds '{word[:60]}'; it must be one of {', '.join(allowed)}."
            )


def _check_people(spec: StudySpec) -> None:
    people = len(spec.personas) + len(spec.own_personas)
    for name in spec.personas:
        if not _NAME.fullmatch(name):
            raise InputError(f"personas holds {name[:60]!r}, which is not the name of a persona.")
    if people and not (spec.lengths and spec.placements):
        raise InputError("Personas need at least one length and one placement.")
    if not people and not spec.adapters:
        raise InputError("There is nothing to compare with neutral: choose a persona or adapter.")
    cells = 1 + people * len(spec.lengths) * len(spec.placements) + 2 * len(spec.adapters)
    if cells > MAX_CELLS:
        raise InputError(f"The study has {cells:,} cells; at most {MAX_CELLS:,} are allowed.")


def _check_adapters(spec: StudySpec) -> None:
    for arm in spec.adapters:
        if not arm.reference.strip() or len(arm.reference) > 1_000:
            raise InputError(f"adapters holds {arm.reference[:60]!r}, which names no adapter.")
        if arm.threshold is not None:
            _check_range(f"threshold of '{arm.reference[:40]}'", arm.threshold, 0.0, 1.0)
    _check_unique("adapters", spec.adapters)


def _check_limits(spec: StudySpec) -> None:
    for limit in spec.limits:
        if limit.task not in spec.tasks:
            raise InputError(f"limits names '{limit.task[:40]}', which is not among the tasks.")
        if limit.n_per_category is not None:
            _check_range(f"n_per_category of '{limit.task}'", limit.n_per_category, 0, 5_000)
        if limit.max_new_tokens is not None:
            _check_range(f"max_new_tokens of '{limit.task}'", limit.max_new_tokens, 1, 4_096)
    _check_unique("limits", tuple(limit.task for limit in spec.limits))


def _check_repeats(spec: StudySpec) -> None:
    for seed in spec.seeds:
        _check_range("a seed", seed, 0, 2**31 - 1)
    if len(spec.seeds) > 1 and spec.temperature == 0:
        raise InputError(
            f"{len(spec.seeds)} seeds at temperature 0 would give the same answers; "
            "choose one seed, or a temperature above 0."
        )
    if len(spec.judges) > 1:
        raise InputError(
            f"judges names {len(spec.judges)}; a study has one judge at most. Run it again with "
            "another judge: its answers then come from the cache."
        )
