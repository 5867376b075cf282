"""What a visitor has chosen, checked once and frozen.

Raw values come from form fields, from the API and from links; `check_selection` turns them into a
`Selection` or says in one sentence what is wrong. A `Selection` becomes a link with `to_query` and
comes back with `read_query`. Nothing here knows Gradio.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

from app.common.form_values import check_model, read_number, read_whole
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
_SAMPLING_FIELDS = tuple(f.name for f in fields(Sampling))


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
    """Name of the persona that the control arm uses."""
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
        sampling = {name: f"{getattr(self.sampling, name):.10g}" for name in _SAMPLING_FIELDS}
        return urlencode(
            {
                "question": self.question,
                "persona": self.persona,
                "length": self.length,
                "placement": self.placement,
                "arms": ",".join(self.arms),
                "control": self.control,
                **sampling,
                "seed": self.seed,
                "model": self.model,
                **({"adapter": self.adapter} if self.adapter else {}),
            }
        )


@dataclass(frozen=True)
class LinkReading:
    """What a link asked for."""

    selection: Selection
    """The inputs; a value that is not allowed is left at its default."""
    problems: tuple[str, ...]
    """One sentence for each value that was not allowed."""
    is_empty: bool
    """Whether the link named no input at all."""


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
        arms=check_arms(selection.arms),
        sampling=check_sampling(selection.sampling, settings),
        seed=read_whole("Seed", selection.seed, 0, MAX_SEED),
        model=check_model(selection.model),
        adapter=check_adapter(selection.adapter),
    )


def check_arms(arms: Sequence[str]) -> tuple[ArmKind, ...]:
    """Return the arms in the order in which they are shown, each once.

    Raises:
        InputError: none, or one that does not exist.
    """
    for arm in arms:
        _one_of("arm", arm, ARMS)
    if not arms:
        raise InputError(f"No arm is chosen. Choose at least one of {', '.join(ARMS)}.")
    return tuple(arm for arm in ARMS if arm in arms)


def check_sampling(sampling: Sampling, settings: Settings) -> Sampling:
    """Return the sampling if it is allowed here.

    Raises:
        InputError: a number is missing or out of range.
    """
    most = settings.max_new_tokens
    return Sampling(
        max_new_tokens=read_whole("Most new tokens", sampling.max_new_tokens, 1, most),
        temperature=read_number("Temperature", sampling.temperature, 0, 2),
        top_p=read_number("Top-p", sampling.top_p, 0.05, 1),
        top_k=read_whole("Top-k", sampling.top_k, 0, 1000),
        repetition_penalty=read_number("Repetition penalty", sampling.repetition_penalty, 1, 2),
    )


def check_adapter(name: str) -> str:
    """Return an adapter's id, which may be empty; whether it exists is known when it is loaded.

    Raises:
        InputError: it does not have the form of an id.
    """
    text = str(name or "").strip()
    if not _ADAPTER.fullmatch(text):
        raise InputError(f"'{text[:60]}' is not an adapter; choose one from the list.")
    return text


def read_query(
    query: Mapping[str, str], personas: Mapping[str, Persona], settings: Settings
) -> LinkReading:
    """Read what a link asks for, value by value, so that one mistake does not cost all."""
    names = ("persona", "length", "placement", "arms", "control", "seed", "model", "adapter")
    used = [n for n in ("question", *names, *_SAMPLING_FIELDS) if n in query]
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
        changes = {"arms": check_arms([a.strip() for a in value.split(",") if a.strip()])}
    elif name in _SAMPLING_FIELDS:
        changes = {"sampling": replace(selection.sampling, **changes)}
    return replace(selection, **changes)


def _one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(f"The {what} '{str(value)[:60]}' is not one of {', '.join(allowed)}.")
