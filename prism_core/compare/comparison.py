"""One question, answered by several arms side by side.

All arms are rows of one batch and stream together: neutral, persona, a control text of the same
length, and PRISM where an adapter is given. 'Persona, then verify' takes the persona's own row as
its draft; when the drafts are done, its neutral second pass streams. Every row gets the same seed,
so an arm's text does not depend on which other arms were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, cast, get_args

from prism_core.errors import InputError
from prism_core.models.generator import Generator, Request
from prism_core.personas.prompts import build_prompt, clean_question, effective_placement
from prism_core.progress import Cancel
from prism_core.types import Completion, GateMode, Message, Persona, Prompt, PromptVariant, Sampling

ArmKind = Literal["neutral", "persona", "control", "verify", "prism"]
ARMS: tuple[ArmKind, ...] = get_args(ArmKind)

NO_ADAPTER = "Train an adapter first"
"""The note of the PRISM arm where there is no adapter."""
MOVED = "This model has no system turn, so the persona's text stands in front of the question."
"""The note of an arm whose text could not go where it was asked to."""
EMPTY_DRAFT = "The draft is empty, so there was nothing to verify."
"""The note of the verify arm where the persona answered nothing."""
_VERIFY = """Below are a question and a draft of its answer. The draft may contain mistakes.

Question:
{question}

Draft:
{draft}

Check every fact, number and step of the draft. Correct what is wrong, keep what is right, and \
make sure that the question is answered. Reply with the corrected answer only: no remarks about \
the draft and no list of changes."""


class Gated(Protocol):
    """A gated model: a `Generator` whose requests can each be gated or forced."""

    def answer(
        self,
        requests: Sequence[Request],
        *,
        cancel: Cancel = None,
        gates: Sequence[GateMode] | GateMode = "auto",
    ) -> Iterator[list[Completion]]:
        """Answer as a `Generator` does; a closed request is answered as by the base model."""


@dataclass(frozen=True)
class ArmAnswer:
    """One arm of a comparison, whole or so far."""

    arm: ArmKind
    label: str
    completion: Completion | None
    """None before the answer begins, or where the arm cannot answer."""
    draft: Completion | None
    """What the persona wrote first, in the verify arm; else None."""
    note: str = ""
    """What a reader must know about this arm, as a sentence; often empty."""


@dataclass(frozen=True)
class ComparisonRequest:
    """What is to be compared."""

    question: str
    """As typed; `check_request` cleans it."""
    arms: tuple[ArmKind, ...]
    variant: PromptVariant
    control: Persona
    """A text that is no persona, of the same length."""
    sampling: Sampling
    seed: int
    owner: str = ""
    """Whose turn it is; see `Request.owner`."""


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
    cancel: Cancel = None,
    adapter: Generator | None = None,
) -> Iterator[tuple[ArmAnswer, ...]]:
    """Answer a question by several arms and yield all of them after every token.

    Args:
        request: question, arms and settings; checked before the first token.
        model: answers all arms but PRISM.
        cancel: stops every arm within one token when set.
        adapter: a gated model (see `Gated`). With the PRISM arm, it answers every arm as rows
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
    _rows(request, question, has_system_role=True, gated=False)
    return question


def verification_prompt(question: str, draft: str) -> Prompt:
    """Write the second, neutral pass of 'persona, then verify'.

    The persona is not mentioned: this pass must see the draft as anybody's.
    """
    # One pass over the template: braces in the question or the draft are left as they are.
    return (Message("user", _VERIFY.format(question=question.strip(), draft=draft.strip())),)


def arm_label(arm: ArmKind, request: ComparisonRequest) -> str:
    """Return an arm's name as shown to people, such as `Mathematician, then verify`."""
    persona = request.variant.persona.title if request.variant.persona else "Persona"
    labels: dict[ArmKind, str] = {
        "neutral": "Neutral",
        "persona": persona,
        "control": request.control.title,
        "verify": f"{persona}, then verify",
        "prism": "PRISM",
    }
    return labels[arm]


def _rows(
    request: ComparisonRequest, question: str, has_system_role: bool, gated: bool
) -> list[_Row]:
    """Lay out the rows of the first batch; persona and verify share one."""
    variant = request.variant
    used: dict[ArmKind, PromptVariant] = {
        "persona": variant,
        "control": PromptVariant(request.control, variant.length, variant.placement),
    }
    kinds: list[ArmKind] = ["persona" if arm == "verify" else arm for arm in request.arms]
    return [
        _Row(
            kind,
            build_prompt(question, used.get(kind, PromptVariant()), has_system_role),
            "auto" if kind == "prism" else "closed",
        )
        for kind in dict.fromkeys(kinds)
        if kind != "prism" or gated
    ]


def _run(
    request: ComparisonRequest,
    question: str,
    model: Generator,
    rows: list[_Row],
    gated: bool,
    cancel: Cancel,
) -> Iterator[tuple[ArmAnswer, ...]]:
    """Stream the drafts as one batch, then the verify arm's second pass."""
    wanted = request.variant.placement
    is_moved = effective_placement(wanted, model.has_system_role) != wanted

    def stream(rows: list[_Row]) -> Iterator[list[Completion]]:
        asked = [
            Request(r.prompt, request.sampling, request.seed, owner=request.owner) for r in rows
        ]
        if not gated:
            return model.answer(asked, cancel=cancel)
        return cast(Gated, model).answer(asked, cancel=cancel, gates=[r.gate for r in rows])

    def show(
        drafts: list[Completion], verified: Completion | None = None, remark: str = ""
    ) -> tuple[ArmAnswer, ...]:
        found = {row.arm: draft for row, draft in zip(rows, drafts, strict=False)}
        # A gate that was held closed has said nothing about this answer.
        found = {a: c if a == "prism" else replace(c, gate=None) for a, c in found.items()}
        answers = []
        for arm in request.arms:
            is_verify = arm == "verify"
            notes = [MOVED] if is_moved and arm in ("persona", "control", "verify") else []
            notes += [remark] if is_verify and remark else []
            notes += [NO_ADAPTER] if arm == "prism" and not gated else []
            completion = verified if is_verify else found.get(arm)
            draft = found.get("persona") if is_verify else None
            answers.append(
                ArmAnswer(arm, arm_label(arm, request), completion, draft, " ".join(notes))
            )
        return tuple(answers)

    drafts: list[Completion] = []
    yield show(drafts)
    if rows:
        for drafts in stream(rows):
            yield show(drafts)
    if "verify" not in request.arms or (cancel is not None and cancel.is_set()) or not drafts:
        return
    draft = drafts[[r.arm for r in rows].index("persona")]
    if not draft.text.strip():
        yield show(drafts, remark=EMPTY_DRAFT)
        return
    second = [_Row("verify", verification_prompt(question, draft.text))]
    for answers in stream(second):
        yield show(drafts, replace(answers[0], gate=None))
