"""The app's public functions for programs: typed, documented, named.

`gradio_client` finds them as `/compare`, `/judge`, `/personas` and `/models`; started with
`--mcp`, the app offers them as tools. They share the queue and the limits of the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import make_dataclass
from functools import wraps
from inspect import signature
from typing import Any, TypedDict, get_type_hints

import gradio as gr

from app.common.form_values import check_offered
from app.common.shared import USES_MODEL
from app.compare.form import DEFAULT_SAMPLING, Selection, check_selection
from app.services.adapter_shelf import AdapterShelf
from app.services.model_pool import ModelPool
from app.services.settings import Settings
from prism_core.compare.comparison import ArmAnswer
from prism_core.compare.comparison import compare as run_comparison
from prism_core.errors import InputError, PrismError
from prism_core.models.sources import EMBEDDED, is_remote, resolve
from prism_core.personas.library import load_personas
from prism_core.personas.prompts import MAX_QUESTION_CHARACTERS, clean_question
from prism_core.scorers.judges import judge_pair
from prism_core.types import Length, Placement, Sampling
from prism_core.utils.validation import build


class ArmResult(TypedDict):
    """One arm's answer."""

    arm: str
    label: str
    text: str
    tokens: int
    seconds: float
    first_token_seconds: float | None
    finish: str
    draft: str
    note: str


class CompareResult(TypedDict):
    """All arms' answers."""

    model: str
    arms: list[ArmResult]


class PersonaResult(TypedDict):
    """A persona that can be asked."""

    name: str
    title: str
    kind: str
    domain: str
    texts: dict[str, str]


class ModelResult(TypedDict):
    """A model that can answer."""

    reference: str
    label: str
    loaded: bool


class JudgeResult(TypedDict):
    """A verdict in both orders."""

    winner: str
    persona_first: float
    persona_second: float
    consistent: bool
    model: str


def add_api(settings: Settings, pool: ModelPool, shelf: AdapterShelf) -> None:
    """Add the functions to the page that is being built."""

    def compare(
        question: str,
        persona: str = "math",
        length: Length = "long",
        placement: Placement = "system",
        arms: list[str] | None = None,
        max_new_tokens: int = DEFAULT_SAMPLING.max_new_tokens,
        temperature: float = DEFAULT_SAMPLING.temperature,
        top_p: float = DEFAULT_SAMPLING.top_p,
        top_k: int = DEFAULT_SAMPLING.top_k,
        repetition_penalty: float = DEFAULT_SAMPLING.repetition_penalty,
        seed: int = 0,
        model: str = EMBEDDED,
        control: str = "neutral_text",
        adapter: str = "",
    ) -> CompareResult:
        """Answer one question plainly and as a persona, side by side.

        Args:
            question: The question to ask, at most 8,000 characters.
            persona: Name of a persona, as listed by `personas`.
            length: Which of the persona's texts to use: min, short or long.
            placement: The turn that carries the persona's text: system or user.
            arms: Who answers: neutral, persona, control, verify, prism. Default: the first two.
            max_new_tokens: The most tokens an answer may have.
            temperature: Divides the logits; 0 always takes the likeliest token.
            top_p: Keep the smallest set of tokens that reaches this probability; 1 keeps all.
            top_k: Keep this many likeliest tokens; 0 keeps all.
            repetition_penalty: 1 allows every repetition; up to 2.
            seed: The same seed gives the same answers.
            model: Reference of a model, as listed by `models`.
            control: The text of the control arm, one of the personas of kind control.
            adapter: Id of a shipped adapter for the prism arm; without one it cannot answer.

        Returns:
            The model's name and, for each arm, its text, tokens, seconds and note.
        """
        sampling = Sampling(max_new_tokens, temperature, top_p, top_k, repetition_penalty)
        wanted = tuple(arms) if arms is not None else ("neutral", "persona")
        try:
            personas = load_personas()
            chosen = check_selection(
                Selection(
                    question=question,
                    persona=persona,
                    length=length,
                    placement=placement,
                    arms=wanted,  # type: ignore[arg-type]  # check_selection refuses others
                    control=control,
                    sampling=sampling,
                    seed=seed,
                    model=model,
                    adapter=adapter,
                ),
                personas,
                settings,
            )
            gated = None
            with pool.lend(chosen.model) as generator:
                if chosen.has_gated_arm:
                    gated = shelf.load(chosen.adapter, None, generator)
                asked = chosen.request(personas)
                *_, answers = run_comparison(asked, generator, adapter=gated)
        except PrismError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return {"model": generator.name, "arms": [_result(a) for a in answers]}

    def judge(
        question: str, persona_answer: str, neutral_answer: str, model: str = EMBEDDED
    ) -> JudgeResult:
        """Ask a model which of two answers is better, in both orders. Its opinion, not a fact.

        Args:
            question: The question that was answered, at most 8,000 characters.
            persona_answer: The answer given with the persona, as long at most.
            neutral_answer: The answer given without, as long at most.
            model: Reference of the judging model, as listed by `models`.

        Returns:
            The winner (persona, neutral or tie) and P(persona's answer is better) in each order.
        """
        try:
            asked = clean_question(question)
            for name, text in (("persona", persona_answer), ("neutral", neutral_answer)):
                _check_answer(f"The {name} answer", text)
            with pool.lend(check_offered(model, settings)) as generator:
                verdict = judge_pair(asked, persona_answer, neutral_answer, generator)
        except PrismError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return {
            "winner": verdict.winner,
            "persona_first": verdict.persona_first,
            "persona_second": verdict.persona_second,
            "consistent": verdict.is_consistent,
            "model": generator.name,
        }

    def personas() -> list[PersonaResult]:
        """List the personas that can be asked, with their texts of each length."""
        return [
            PersonaResult(
                name=p.name, title=p.title, kind=p.kind, domain=p.domain, texts=dict(p.texts)
            )
            for p in load_personas().values()
        ]

    def models() -> list[ModelResult]:
        """List the models that are offered, and whether each is in memory."""
        return [
            {"reference": r, "label": _label(r), "loaded": pool.is_loaded(r)}
            for r in settings.models
        ]

    gr.api(_typed(compare), api_name="compare", **USES_MODEL)
    gr.api(_typed(judge), api_name="judge", **USES_MODEL)
    gr.api(_typed(personas), api_name="personas")
    gr.api(_typed(models), api_name="models")


def _typed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check a function's arguments by their types, and tell Gradio what they and its result are."""
    hints, called = get_type_hints(function), signature(function)
    fields = [
        (name, hints[name], one.default) if one.default is not one.empty else (name, hints[name])
        for name, one in called.parameters.items()
    ]
    kind = make_dataclass(f"{function.__name__}_arguments", fields, frozen=True)

    @wraps(function)
    def checked(*values: Any, **named: Any) -> Any:
        try:
            build(kind, dict(called.bind(*values, **named).arguments))
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return function(*values, **named)

    # Gradio reads the result's type no other way, and looks through the wrapper.
    function.__annotations__ = checked.__annotations__ = hints
    return checked


def _check_answer(name: str, text: object) -> None:
    """Refuse, by an `InputError`, what is no answer that Compare could have given."""
    if not isinstance(text, str):
        raise InputError(f"{name} is {str(text)[:40]!r}; it must be a text.")
    if len(text) > MAX_QUESTION_CHARACTERS:
        raise InputError(
            f"{name} has {len(text):,} characters; at most {MAX_QUESTION_CHARACTERS:,} are allowed."
        )


def _label(reference: str) -> str:
    return reference if is_remote(reference) else resolve(reference).label


def _result(answer: ArmAnswer) -> ArmResult:
    done = answer.completion
    return {
        "arm": answer.arm,
        "label": answer.label,
        "text": done.text if done else "",
        "tokens": done.tokens if done else 0,
        "seconds": round(done.seconds, 3) if done else 0.0,
        "first_token_seconds": done.first_token_seconds if done else None,
        "finish": done.finish if done else "",
        "draft": answer.draft.text if answer.draft else "",
        "note": answer.note,
    }
