"""One question, answered by several arms side by side.

All arms are rows of one batch and stream together: neutral, persona, a control text of the same
length, and PRISM where an adapter is given. 'Persona, then verify' takes the persona's own row as
its draft; when the drafts are done, its neutral second pass streams. Every row gets the same seed,
so an arm's text does not depend on which other arms were asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, cast, get_args

from prism_core.compare.verification import verification_prompt
from prism_core.errors import InputError
from prism_core.models.generator import Generator, Seed
from prism_core.personas.prompts import build_prompt, clean_question, effective_placement
from prism_core.types import Completion, GateMode, Persona, Prompt, PromptVariant, Sampling

ArmKind = Literal["neutral", "persona", "control", "verify", "prism"]
ARMS: tuple[ArmKind, ...] = get_args(ArmKind)

NO_ADAPTER = "Train an adapter first"
"""The note of the PRISM arm where there is no adapter."""
MOVED = "This model has no system turn, so the persona's text stands in front of the question."
"""The note of an arm whose text could not go where it was asked to."""
EMPTY_DRAFT = "The draft is empty, so there was nothing to verify."
"""The note of the verify arm where the persona answered nothing."""


class GatedStream(Protocol):
    """A gated model: a `Generator` whose rows can each be gated or forced."""

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
        gates: Sequence[GateMode] | None = None,
    ) -> Iterator[list[Completion]]:
        """As `Generator.stream`; a closed row answers as the base model does."""


@dataclass(frozen=True)
class ArmAnswer:
    """One arm of a comparison, whole or so far."""

    arm: ArmKind
    """Which arm."""
    label: str
    """The arm's name as shown to people."""
    completion: Completion | None
    """The answer; None before it begins, or where the arm cannot answer."""
    draft: Completion | None
    """What the persona wrote first, in the verify arm; else None."""
    note: str = ""
    """What a reader must know about this arm, as a sentence; often empty."""


@dataclass(frozen=True)
class ComparisonRequest:
    """What is to be compared."""

    question: str
    """The question as typed."""
    arms: tuple[ArmKind, ...]
    """Which arms, in the order in which they are shown."""
    variant: PromptVariant
    """The persona with its length and placement."""
    control: Persona
    """A text that is no persona, of the same length."""
    sampling: Sampling
    """How tokens are drawn, the same in every arm."""
    seed: int
    """The seed of every row."""


@dataclass(frozen=True)
class _Row:
    """One row of the batch of drafts."""

    arm: ArmKind
    prompt: Prompt
    gate: GateMode = "closed"


def compare(
    request: ComparisonRequest,
    model: Generator,
    *,
    cancel: threading.Event | None = None,
    adapter: Generator | None = None,
) -> Iterator[tuple[ArmAnswer, ...]]:
    """Answer a question by several arms and yield all of them after every token.

    Args:
        request: question, arms and settings; checked before the first token.
        model: answers all arms but PRISM.
        cancel: stops every arm within one token when set.
        adapter: a gated model (see `GatedStream`). With the PRISM arm, it answers every arm as rows
            of one batch, with its gate closed for all others.

    Raises:
        InputError: no arm, an arm twice or unknown, no persona for an arm that needs one, an
            empty or too long question, or a persona without a text of that length.
    """
    question = check_request(request)
    gated = adapter is not None and "prism" in request.arms
    used = adapter if gated and adapter is not None else model
    rows = _rows(request, question, used.has_system_role, gated)
    return _run(request, question, used, rows, gated, cancel)


def check_request(request: ComparisonRequest) -> str:
    """Check what can be checked without a model, and return the cleaned question.

    Raises:
        InputError: as `compare`.
    """
    question = clean_question(request.question)
    _check_arms(request)
    _rows(request, question, has_system_role=True, gated=False)
    return question


def _check_arms(request: ComparisonRequest) -> None:
    if not request.arms:
        raise InputError(f"No arm was chosen; choose at least one of {', '.join(ARMS)}.")
    for arm in request.arms:
        if arm not in ARMS:
            raise InputError(f"There is no arm '{str(arm)[:40]}'; the arms are {', '.join(ARMS)}.")
        if request.arms.count(arm) > 1:
            raise InputError(f"The arm '{arm}' was chosen twice; choose each arm once.")
    needy = [a for a in request.arms if a in ("persona", "verify")]
    if needy and request.variant.persona is None:
        raise InputError(f"The arm '{needy[0]}' needs a persona, and none was chosen.")


def _rows(
    request: ComparisonRequest, question: str, has_system_role: bool, gated: bool
) -> list[_Row]:
    """The rows of the first batch; persona and verify share one."""
    variant = request.variant
    rows: list[_Row] = []
    for arm in request.arms:
        kind: ArmKind = "persona" if arm == "verify" else arm
        if any(r.arm == kind for r in rows) or (kind == "prism" and not gated):
            continue
        if kind == "persona":
            used = variant
        elif kind == "control":
            used = PromptVariant(request.control, variant.length, variant.placement)
        else:
            used = PromptVariant()
        prompt = build_prompt(question, used, has_system_role)
        rows.append(_Row(kind, prompt, "auto" if kind == "prism" else "closed"))
    return rows


def _run(
    request: ComparisonRequest,
    question: str,
    model: Generator,
    rows: list[_Row],
    gated: bool,
    cancel: threading.Event | None,
) -> Iterator[tuple[ArmAnswer, ...]]:
    """The drafts as one batch, then the verify arm's second pass."""
    moved = _was_moved(request, model)
    show = _shower(request, rows, moved)
    drafts: list[Completion] = []
    yield show(drafts, None, "")
    if rows:
        for drafts in _stream(model, rows, request, gated, cancel):
            yield show(drafts, None, "")
    if "verify" not in request.arms or (cancel is not None and cancel.is_set()) or not drafts:
        return
    draft = drafts[[r.arm for r in rows].index("persona")]
    if not draft.text.strip():
        yield show(drafts, None, EMPTY_DRAFT)
        return
    second = [_Row("verify", verification_prompt(question, draft.text))]
    for answers in _stream(model, second, request, gated, cancel):
        yield show(drafts, replace(answers[0], gate=None), "")


def _stream(
    model: Generator,
    rows: list[_Row],
    request: ComparisonRequest,
    gated: bool,
    cancel: threading.Event | None,
) -> Iterator[list[Completion]]:
    prompts = [r.prompt for r in rows]
    seeds = [request.seed] * len(rows)
    if not gated:
        return model.stream(prompts, request.sampling, seeds, cancel=cancel)
    gates = [r.gate for r in rows]
    gated_model = cast(GatedStream, model)
    return gated_model.stream(prompts, request.sampling, seeds, cancel=cancel, gates=gates)


def _was_moved(request: ComparisonRequest, model: Generator) -> bool:
    wanted = request.variant.placement
    return effective_placement(wanted, model.has_system_role) != wanted


def _shower(
    request: ComparisonRequest, rows: list[_Row], moved: bool
) -> Callable[[list[Completion], Completion | None, str], tuple[ArmAnswer, ...]]:
    """A function from completions to a snapshot in the order of the request's arms."""
    places = {r.arm: i for i, r in enumerate(rows)}

    def show(
        drafts: list[Completion], verified: Completion | None, remark: str
    ) -> tuple[ArmAnswer, ...]:
        def row(arm: ArmKind) -> Completion | None:
            if not drafts or arm not in places:
                return None
            found = drafts[places[arm]]
            # A gate that was held closed has said nothing about this answer.
            return found if arm == "prism" else replace(found, gate=None)

        answers = []
        for arm in request.arms:
            is_verify = arm == "verify"
            notes = [MOVED] if moved and arm in ("persona", "control", "verify") else []
            notes += [remark] if is_verify and remark else []
            notes += [NO_ADAPTER] if arm == "prism" and "prism" not in places else []
            answers.append(
                ArmAnswer(
                    arm=arm,
                    label=arm_label(arm, request),
                    completion=verified if is_verify else row(arm),
                    draft=row("persona") if is_verify else None,
                    note=" ".join(notes),
                )
            )
        return tuple(answers)

    return show


def arm_label(arm: ArmKind, request: ComparisonRequest) -> str:
    """An arm's name as shown to people, such as `Mathematician, then verify`."""
    persona = request.variant.persona.title if request.variant.persona else "Persona"
    labels: dict[ArmKind, str] = {
        "neutral": "Neutral",
        "persona": persona,
        "control": request.control.title,
        "verify": f"{persona}, then verify",
        "prism": "PRISM",
    }
    return labels[arm]
