"""Arms as cards: who answers, what it says so far, and what it cost.

Open cards carry an arm's colour, name and numbers. Blind cards carry a letter and the text alone:
no class, note, number or draft that would tell which arm it is, and nothing at all until the end
where an arm's timing would give it away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.common.text import count, escape
from app.compare.shown import Shown
from prism_core.compare.comparison import ArmAnswer, ArmKind
from prism_core.types import Completion, Persona, PromptVariant

LETTERS = "ABCDE"


@dataclass(frozen=True)
class ArmLook:
    """How an arm presents itself."""

    title: str
    explanation: str
    """What it does, in one sentence for someone new."""


LOOKS: Mapping[str, ArmLook] = {
    "neutral": ArmLook("Neutral", "The model reads your question and nothing else."),
    "persona": ArmLook("Persona", "The same model, told first who it is to be."),
    "control": ArmLook(
        "Control", "As much text as the persona's, but about nothing: shows what length alone does."
    ),
    "verify": ArmLook(
        "Persona, then verify",
        "The persona drafts; a neutral pass checks the facts and corrects the draft.",
    ),
    "prism": ArmLook("PRISM", "A trained gate lets the persona in only where it helps."),
}
ARM_CHOICES: list[tuple[str, str]] = [(look.title, arm) for arm, look in LOOKS.items()]


def arm_title(arm: str) -> str:
    """Return an arm's short name."""
    return LOOKS[arm].title if arm in LOOKS else arm


def intro_cards(arms: Sequence[ArmKind]) -> str:
    """Say what each chosen arm will do, before anything was asked."""
    cards = "".join(
        f'<article class="px-arm px-{arm} px-intro"><header><span class="px-tag">'
        f"{escape(LOOKS[arm].title)}</span></header><p>{escape(LOOKS[arm].explanation)}</p>"
        '<div class="px-lines" aria-hidden="true"><i></i><i></i><i></i></div></article>'
        for arm in arms
        if arm in LOOKS
    )
    return _grid(cards, len(arms), "The arms that will answer")


def persona_note(persona: Persona | None, length: str) -> str:
    """Show what the model is told at this length, folded behind one line."""
    if persona is None:
        return ""
    text = persona.texts.get(length, "")
    if not text:
        return f'<p class="px-help">{escape(persona.title)} has no text of this length.</p>'
    return (
        f'<details class="px-told"><summary>What the {escape(persona.title)} is told'
        f'</summary><p dir="auto">{escape(text)}</p></details>'
    )


def cards_of(shown: Shown) -> str:
    """Draw what is on the screen, blind or open."""
    shuffle = shown.order.shuffle
    if shown.is_hidden and shuffle is not None:
        return blind_cards(shown.answers, shuffle, withhold=shown.withholds)
    order = None
    if shuffle is not None:
        order = [*shuffle, *(i for i in range(len(shown.answers)) if i not in shuffle)]
    variant = shown.order.request.variant
    return open_cards(shown.answers, variant, order=order, preferred=shown.vote)


def open_cards(
    answers: Sequence[ArmAnswer],
    variant: PromptVariant,
    *,
    order: Sequence[int] | None = None,
    preferred: str | None = None,
) -> str:
    """Draw the answers with everything known about them; after a vote, in the voted order."""
    places = order if order is not None else range(len(answers))
    cards = []
    for letter, place in zip(LETTERS, places, strict=False):
        answer = answers[place]
        voted = order is not None and answer.completion is not None
        was = f"Answer {letter}" if voted else ""
        cards.append(_open_card(answer, variant, was, answer.arm == preferred))
    return _grid("".join(cards), len(places), "Answers")


def blind_cards(
    answers: Sequence[ArmAnswer], order: Sequence[int], *, withhold: bool = False
) -> str:
    """Draw the answers by letter alone."""
    cards = []
    for letter, place in zip(LETTERS, order, strict=False):
        completion = answers[place].completion
        if withhold or completion is None:
            body = '<div class="px-text px-wait">Writing…</div>'
        else:
            body = _text(completion, running=completion.finish == "running")
        cards.append(
            f'<article class="px-arm px-blind" aria-label="Answer {letter}"><header>'
            f'<span class="px-tag">Answer {letter}</span></header>{body}</article>'
        )
    return _grid("".join(cards), len(order), "Answers, hidden until your vote")


def _grid(cards: str, number: int, label: str) -> str:
    return f'<section class="px-arms" data-count="{number}" aria-label="{label}">{cards}</section>'


def _open_card(answer: ArmAnswer, variant: PromptVariant, was: str, preferred: bool) -> str:
    look = LOOKS[answer.arm]
    detail = _detail(answer, variant)
    badge = '<span class="px-badge">Your choice</span>' if preferred else ""
    earlier = f'<span class="px-was">{escape(was)}</span>' if was else ""
    note = f'<p class="px-note">{escape(answer.note)}</p>' if answer.note else ""
    return (
        f'<article class="px-arm px-{answer.arm}" aria-label="{escape(look.title)}"><header>'
        f'<span class="px-tag">{escape(look.title)}</span>{earlier}{badge}'
        f'<span class="px-detail">{escape(detail)}</span></header>{note}'
        f"{_draft(answer)}{_body(answer)}{_metrics(answer.completion)}</article>"
    )


def _detail(answer: ArmAnswer, variant: PromptVariant) -> str:
    if answer.arm in ("persona", "control"):
        return f"{answer.label} · {variant.length} · {variant.placement} turn"
    if answer.arm == "verify" and variant.persona is not None:
        return f"{variant.persona.title} · {variant.length} · {variant.placement} turn"
    return ""


def _draft(answer: ArmAnswer) -> str:
    if answer.draft is None:
        return ""
    is_open = " open" if answer.completion is None else ""
    return (
        f'<details class="px-draft"{is_open}><summary>The persona\'s draft</summary>'
        f"{_text(answer.draft, running=answer.draft.finish == 'running')}</details>"
    )


def _body(answer: ArmAnswer) -> str:
    done = answer.completion
    if done is None:
        if answer.arm == "prism":
            return ""
        wait = "The check begins when the draft is done." if answer.draft else "Reading…"
        return f'<div class="px-text px-wait">{wait}</div>'
    thought = ""
    if done.thought:
        thought = (
            '<details class="px-draft"><summary>Thoughts before the answer</summary>'
            f'<div class="px-text" dir="auto">{escape(done.thought)}</div></details>'
        )
    return thought + _text(done, running=done.finish == "running")


def _text(done: Completion, *, running: bool) -> str:
    caret = '<i class="px-caret" aria-hidden="true"></i>' if running else ""
    if not done.text.strip() and not running:
        return '<div class="px-text px-wait">The model gave an empty answer.</div>'
    return f'<div class="px-text" dir="auto">{escape(done.text)}{caret}</div>'


def _metrics(done: Completion | None) -> str:
    if done is None:
        return ""
    speed, first = done.tokens_per_second, done.first_token_seconds
    parts = [
        (count(done.tokens, "token"), "Tokens in the answer"),
        (f"{speed:.1f} tok/s" if speed is not None else "", "Decoding speed of this answer"),
        (f"{first:.2f} s to first" if first is not None else "", "Time to the first token"),
        (
            f"{count(len(done.text.split()), 'word')}, {count(len(done.text), 'character')}",
            "Length of the answer",
        ),
    ]
    if done.gate is not None:
        state = "open" if done.gate.is_open else "closed"
        tip = "P(persona helps) for this question; at the threshold the gate opens"
        parts.insert(0, (f"gate {done.gate.probability:.2f}, {state}", tip))
    ends = {
        "length": ("cut at the limit", "The answer reached the limit of new tokens"),
        "cancelled": ("stopped", "You stopped this answer"),
        "filtered": ("filtered", "The provider's content filter ended this answer"),
    }
    if done.finish in ends:
        parts.append(ends[done.finish])
    spans = "".join(f'<span title="{title}">{text}</span>' for text, title in parts if text)
    return f'<footer class="px-metrics">{spans}</footer>'
