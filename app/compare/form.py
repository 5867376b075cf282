"""What a visitor has chosen, checked once and frozen.

Raw values come from form fields, from the API and from links; `check_selection` says in one
sentence what is wrong with them. A `Selection` becomes a link with `to_query` and comes back with
`read_query`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlencode

from app.common.form_values import check_offered, read_number, read_whole
from app.services.settings import Settings
from prism_core.compare.comparison import ARMS, ArmKind, ComparisonRequest
from prism_core.errors import InputError, PrismError
from prism_core.models.sources import EMBEDDED
from prism_core.personas.library import get_persona
from prism_core.personas.prompts import clean_question
from prism_core.types import (
    LENGTHS,
    PLACEMENTS,
    Length,
    Persona,
    Placement,
    PromptVariant,
    Sampling,
)
from prism_core.utils.validation import MAX_SEED

DEFAULT_ARMS: tuple[ArmKind, ...] = ("neutral", "persona", "control")
DEFAULT_SAMPLING = Sampling(
    max_new_tokens=160, temperature=0.2, top_p=0.9, top_k=0, repetition_penalty=1.1
)
"""Temperature and top-p as the embedded model's authors advise; a little less repetition."""
_ADAPTER = re.compile(r"[A-Za-z0-9._-]{0,100}")
SAMPLING_FIELDS = tuple(Sampling.__dataclass_fields__)
FIELDS = (
    *("question", "persona", "length", "placement", "arms", "control"),
    *SAMPLING_FIELDS,
    *("seed", "model", "adapter"),
)
"""The inputs by name, in the order in which listeners get their values."""


@dataclass(frozen=True)
class Selection:
    """The inputs of one comparison, as a visitor sees them."""

    question: str = ""
    """The question, cleaned of invisible characters."""
    persona: str = "math"
    length: Length = "long"
    placement: Placement = "system"
    arms: tuple[ArmKind, ...] = DEFAULT_ARMS
    """The arms to answer, in the order of `ARMS`."""
    control: str = "neutral_text"
    sampling: Sampling = DEFAULT_SAMPLING
    seed: int = 0
    model: str = EMBEDDED
    adapter: str = ""
    """Id of the PRISM arm's adapter on the visitor's shelf; empty for none."""

    @property
    def has_gated_arm(self) -> bool:
        """Whether the PRISM arm can answer."""
        return "prism" in self.arms and bool(self.adapter)

    def request(self, personas: Mapping[str, Persona]) -> ComparisonRequest:
        """Return what `prism_core.compare.comparison.compare` is asked."""
        library = dict(personas)
        persona = get_persona(self.persona, library)
        return ComparisonRequest(
            question=self.question,
            arms=self.arms,
            variant=PromptVariant(persona, self.length, self.placement),
            control=get_persona(self.control, library),
            sampling=self.sampling,
            seed=self.seed,
        )

    def to_query(self) -> str:
        """Return the query string of a link that brings these inputs back."""
        values = values_of(self) | {"arms": ",".join(self.arms)}
        values |= {name: f"{values[name]:.10g}" for name in SAMPLING_FIELDS}
        return urlencode({name: value for name, value in values.items() if value is not None})


def selection_of(*values: Any) -> Selection:
    """Return the selection in the values of `FIELDS`, not checked yet."""
    raw = dict(zip(FIELDS, values, strict=True))
    sampling = Sampling(**{name: raw.pop(name) for name in SAMPLING_FIELDS})
    texts = {n: raw[n] or "" for n in ("question", "persona", "control", "model", "adapter")}
    return Selection(**raw | texts | {"arms": tuple(raw["arms"] or ()), "sampling": sampling})


def values_of(selection: Selection) -> dict[str, Any]:
    """Return the values of `FIELDS`, by name, that show a selection."""
    flat = {**vars(selection), **asdict(selection.sampling)}
    shown = {"arms": list(selection.arms), "adapter": selection.adapter or None}
    return {name: flat[name] for name in FIELDS} | shown


@dataclass(frozen=True)
class LinkReading:
    """What a link asked for."""

    selection: Selection
    """The inputs; a value that is not allowed is left at its default."""
    problems: tuple[str, ...]
    """One sentence for each value that was not allowed."""
    is_empty: bool


def check_selection(
    selection: Selection, personas: Mapping[str, Persona], settings: Settings
) -> Selection:
    """Return the same selection, cleaned, if everything in it is allowed.

    Raises:
        InputError: a value is not allowed; the message quotes it and says what is.
        NotFoundError: there is no persona of that name.
    """
    question = clean_question(selection.question)
    get_persona(selection.persona, dict(personas))
    control = get_persona(selection.control, dict(personas))
    if control.kind != "control":
        allowed = ", ".join(p.name for p in personas.values() if p.kind == "control")
        raise InputError(f"'{control.name}' is not a control; choose one of {allowed}.")
    _one_of("length", selection.length, LENGTHS)
    _one_of("placement", selection.placement, PLACEMENTS)
    return replace(
        selection,
        question=question,
        arms=_check_arms(selection.arms),
        sampling=_check_sampling(selection.sampling, settings),
        seed=read_whole("Seed", selection.seed, 0, MAX_SEED),
        model=check_offered(selection.model, settings),
        adapter=_check_adapter(selection.adapter),
    )


def _check_arms(arms: Sequence[str]) -> tuple[ArmKind, ...]:
    """Return the arms in the order in which they are shown, each once."""
    for arm in arms:
        _one_of("arm", arm, ARMS)
    if not arms:
        raise InputError(f"No arm is chosen. Choose at least one of {', '.join(ARMS)}.")
    return tuple(arm for arm in ARMS if arm in arms)


def sampling_limits(settings: Settings) -> dict[str, tuple[str, float, float]]:
    """Return what the page calls each number of a `Sampling`, its least and its most."""
    return {
        "max_new_tokens": ("Most new tokens", 1, settings.max_new_tokens),
        "temperature": ("Temperature", 0, 2),
        "top_p": ("Top-p", 0.05, 1),
        "top_k": ("Top-k", 0, 1000),
        "repetition_penalty": ("Repetition penalty", 1, 2),
    }


def _check_sampling(sampling: Sampling, settings: Settings) -> Sampling:
    checked: dict[str, Any] = {}
    for name, (label, low, high) in sampling_limits(settings).items():
        value = getattr(sampling, name)
        if isinstance(getattr(DEFAULT_SAMPLING, name), int):
            checked[name] = read_whole(label, value, int(low), int(high))
        else:
            checked[name] = read_number(label, value, low, high)
    return Sampling(**checked)


def _check_adapter(name: str) -> str:
    """Return an adapter's id, which may be empty; whether it exists is known when it is loaded."""
    text = str(name or "").strip()
    if not _ADAPTER.fullmatch(text):
        raise InputError(f"'{text[:60]}' is not an adapter; choose one from the list.")
    return text


def read_query(
    query: Mapping[str, str], personas: Mapping[str, Persona], settings: Settings
) -> LinkReading:
    """Read what a link asks for, value by value, so that one mistake does not cost all."""
    used = [name for name in FIELDS if name in query]
    selection = Selection(question="?", model=settings.default_model)
    question = ""
    problems: list[str] = []
    for name in used:
        try:
            if name == "question":
                question = clean_question(query[name])
            else:
                changed = _with(selection, name, query[name])
                selection = check_selection(changed, personas, settings)
        except PrismError as error:
            problems.append(f"The link's {name.replace('_', ' ')} was left out. {error}")
    return LinkReading(replace(selection, question=question), tuple(problems), not used)


def _with(selection: Selection, name: str, value: str) -> Selection:
    changes: dict[str, Any] = {name: value}
    if name == "arms":
        changes = {"arms": _check_arms([a.strip() for a in value.split(",") if a.strip()])}
    elif name in SAMPLING_FIELDS:
        changes = {"sampling": replace(selection.sampling, **changes)}
    return replace(selection, **changes)


def _one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(f"The {what} '{str(value)[:60]}' is not one of {', '.join(allowed)}.")
