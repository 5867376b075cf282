"""What a person chooses before a study, as plain data and as YAML.

A study crosses tasks with cells: the neutral prompt, every persona at every length and placement,
and every adapter with its gate. A `StudySpec` is stored with the run and inside the study's file,
so that a result always says how it was made. In YAML, what one task needs differently stands
beside its name, as does an adapter's threshold; YAML is read as texts alone (`plain_yaml`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field

from prism_core.errors import InputError
from prism_core.personas.library import PERSONA_NAME
from prism_core.storage.values import pack
from prism_core.types import Length, Placement
from prism_core.utils.plain_yaml import plain_documents
from prism_core.utils.validation import PLAIN, Seed, build, check, check_name, json_schema

Scoring = Literal["auto", "letters", "cloze", "first_token", "written"]
Effort = Literal["", "none", "minimal", "low", "medium", "high", "xhigh"]
LATER = ("concurrency", "retries", "most_cost", "effort")
"""Fields that earlier versions did not have. Of them, the effort alone decides answers."""
Items = Annotated[int, Field(ge=0, le=5_000), PLAIN]
Tokens = Annotated[int, Field(ge=1, le=4_096), PLAIN]

MAX_CELLS = 5_000
"""Cells of one model; more cannot be read by anybody."""
MAX_NAME = 120
MAX_SEEDS = 1_000
"""No other list may be longer than `MAX_CELLS`; both are counted before anything is read."""


@dataclass(frozen=True)
class AdapterArm:
    """A distilled adapter that answers in the study, gate on."""

    reference: Annotated[str, Field(max_length=1_000)]
    """A shipped adapter's name, a training run's id, or a bundle's folder."""
    threshold: Annotated[float, Field(ge=0, le=1), PLAIN] | None = None
    """The gate opens at this probability; None takes the adapter's own threshold."""


@dataclass(frozen=True)
class TaskLimit:
    """What one task needs differently from the others."""

    task: str
    n_per_category: Items | None = None
    """Items of each of its categories; None takes the study's number."""
    max_new_tokens: Tokens | None = None
    """The longest answer to one of its items; None takes the study's number."""


def _named(value: object) -> object:
    """Read an adapter's reference alone as an arm."""
    return {"reference": value} if isinstance(value, str) else value


@dataclass(frozen=True)
class StudySpec:
    """One study's choices."""

    name: str = "My study"
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
    adapters: tuple[
        Annotated[AdapterArm, BeforeValidator(_named, json_schema_input_type=str | AdapterArm)], ...
    ] = ()
    """Adapters that answer too."""
    sweep: bool = False
    """Whether each adapter also answers with its gate held open, so that any threshold is known."""
    models: tuple[str, ...] = ("embedded",)
    """References of models; see `prism_core.models.weights`, or `remote:NAME`."""
    n_per_category: Items = 20
    """Items of each category; 0 takes all there are."""
    item_seed: Seed = 0
    """Seed of the choice of items; a larger number of items holds the smaller one."""
    seeds: tuple[Seed, ...] = (0,)
    """Every written answer is drawn once for each; they are repeats of one item."""
    max_new_tokens: Tokens = 128
    """The longest answer."""
    temperature: Annotated[float, Field(ge=0, le=5), PLAIN] = 0.0
    """See `Sampling`; 0 takes the most probable token, and one seed is then enough."""
    top_p: Annotated[float, Field(ge=0.01, le=1), PLAIN] = 1.0
    """See `Sampling`."""
    scoring: Scoring = "auto"
    """How choices are scored: by letters, by the answers' own likelihood, or by a probe."""
    judges: tuple[str, ...] = ()
    """Who judges written answers: nobody, or one or two of `self` and models' references."""
    judgements: tuple[Literal["pairwise", "rubric", "refusal"], ...] = ("pairwise",)
    """What the judge is asked for."""
    delta: Annotated[float, Field(ge=0.001, le=0.5), PLAIN] = 0.05
    """The largest loss against neutral that is still called no worse; chosen before the start."""
    executor: Literal["local", "ray"] = "local"
    """Whether cells run in this process or on a Ray cluster."""
    concurrency: Annotated[int, Field(ge=1, le=256), PLAIN] = 8
    """Requests under way at the same time at an endpoint, at the most."""
    retries: Annotated[int, Field(ge=0, le=20), PLAIN] = 5
    """How often a request is repeated that failed; one that is put off waits its turn instead."""
    most_cost: Annotated[float, Field(gt=0, le=1_000_000), PLAIN] | None = None
    """The most that may be spent, in the currency of the prices; None sets no limit."""
    effort: Effort = ""
    """How much a reasoning model is to think; empty leaves it to the model."""

    def items_of(self, task: str) -> int:
        """Return the items of each category of a task; 0 for all."""
        own = self._limit(task).n_per_category
        return self.n_per_category if own is None else own

    def tokens_of(self, task: str) -> int:
        """Return the longest answer to an item of a task."""
        own = self._limit(task).max_new_tokens
        return self.max_new_tokens if own is None else own

    def _limit(self, task: str) -> TaskLimit:
        return next((limit for limit in self.limits if limit.task == task), TaskLimit(task))


_LISTS = tuple(name for name, value in asdict(StudySpec()).items() if isinstance(value, tuple))


def deciding(spec: StudySpec) -> dict[str, Any]:
    """Return the choices that decide a study's answers, in the form that earlier versions wrote."""
    data: dict[str, Any] = pack(spec)
    return {name: v for name, v in data.items() if name not in LATER or (name == "effort" and v)}


def check_spec(spec: StudySpec) -> StudySpec:
    """Return the spec if it can be run, as far as it alone shows that.

    Raises:
        InputError: a choice is not allowed; the message quotes it and says what is.
    """
    for field in _LISTS:
        _check_length(field, getattr(spec, field))
    spec = check(spec)
    check_name(spec.name, MAX_NAME)
    for field in _LISTS:
        values: tuple[object, ...] = getattr(spec, field)
        if field == "limits":
            values = tuple(limit.task for limit in spec.limits)
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice and field != "own_personas":
            raise InputError(f"{field} holds {str(twice[0])[:60]!r} twice; once is enough.")
        if not values and field in ("tasks", "models", "seeds"):
            raise InputError(f"{field} is empty; a study needs at least one.")
    _check_cells(spec)
    for limit in spec.limits:
        if limit.task not in spec.tasks:
            raise InputError(f"limits names '{limit.task[:40]}', which is not among the tasks.")
    if len(spec.seeds) > 1 and spec.temperature == 0:
        raise InputError(
            f"{len(spec.seeds)} seeds at temperature 0 would give the same answers; "
            "choose one seed, or a temperature above 0."
        )
    if len(spec.judges) > 2:
        raise InputError(
            f"judges names {len(spec.judges)}; a study has two judges at most. Run it again with "
            "other judges: its answers then come from the cache."
        )
    return spec


def _check_length(field: str, values: object) -> None:
    """Refuse a list that is too long to be meant."""
    most = MAX_SEEDS if field == "seeds" else MAX_CELLS
    if isinstance(values, list | tuple) and len(values) > most:
        raise InputError(f"{field} has {len(values):,} entries; at most {most:,} are allowed.")


def _check_cells(spec: StudySpec) -> None:
    people = len(spec.personas) + len(spec.own_personas)
    for name in spec.personas:
        if not PERSONA_NAME.fullmatch(name):
            raise InputError(f"personas holds {name[:60]!r}, which is not the name of a persona.")
    for arm in spec.adapters:
        if not arm.reference.strip():
            raise InputError(f"adapters holds {arm.reference[:60]!r}, which names no adapter.")
    if people and not (spec.lengths and spec.placements):
        raise InputError("Personas need at least one length and one placement.")
    if not people and not spec.adapters:
        raise InputError("There is nothing to compare with neutral: choose a persona or adapter.")
    cells = 1 + people * len(spec.lengths) * len(spec.placements) + 2 * len(spec.adapters)
    if cells > MAX_CELLS:
        raise InputError(f"The study has {cells:,} cells; at most {MAX_CELLS:,} are allowed.")


def from_yaml(text: str) -> StudySpec:
    """Read a spec; fields left out keep their defaults.

    A task is a name, or a mapping with `name` and what it needs differently; an adapter is a name,
    or a mapping with `reference` and `threshold`.

    Raises:
        InputError: not plain YAML, an unknown field, or a value that is not allowed.
    """
    documents = plain_documents(text)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise InputError("A study's spec must be one YAML mapping with name, tasks, personas ...")
    data: dict[str, Any] = documents[0]
    for field in _LISTS:  # one alone needs no list, and nothing is an empty one
        if field in data and not isinstance(data[field], list):
            data[field] = [] if data[field] is None else [data[field]]
        _check_length(field, data.get(field))
    tasks = data.get("tasks", [])
    for place, task in enumerate(tasks):
        if isinstance(task, dict):
            if not isinstance(task.get("name"), str):
                raise InputError(f"tasks holds {str(task)[:60]!r}; a mapping needs 'name'.")
            tasks[place] = task.pop("name")
            data.setdefault("limits", []).append({"task": tasks[place], **task})
    return check_spec(build(StudySpec, data, texts=True))


def to_yaml(spec: StudySpec) -> str:
    """Return the spec as YAML that `from_yaml` reads back."""
    data = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(spec).items()}
    limits = {limit.pop("task"): limit for limit in data.pop("limits")}
    for task, limit in limits.items():
        given = {key: value for key, value in limit.items() if value is not None}
        data["tasks"][spec.tasks.index(task)] = {"name": task, **given}
    data["adapters"] = [a["reference"] if a["threshold"] is None else a for a in data["adapters"]]
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=96)


def yaml_schema() -> dict[str, Any]:
    """Return the JSON Schema of what `from_yaml` reads, for editors."""
    schema = json_schema(StudySpec)
    del schema["properties"]["limits"]
    limit = schema["$defs"]["TaskLimit"]
    limit["properties"]["name"] = limit["properties"].pop("task")
    limit["required"] = ["name"]
    schema["properties"]["tasks"]["items"] = {
        "anyOf": [{"type": "string"}, {"$ref": "#/$defs/TaskLimit"}]
    }
    return schema
