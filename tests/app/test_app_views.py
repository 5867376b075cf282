"""Fragments: everything foreign is escaped, blind cards tell nothing, numbers are right."""

from __future__ import annotations

import math
import re

import gradio as gr
import pytest

from app.common.text import count, escape, loading, notice
from app.compare.form import Selection
from app.compare.handlers import Screen
from app.compare.history import entry_of
from app.compare.history_panel import HISTORY_COLUMNS, history_frame
from app.compare.running import REMEMBERED, Running
from app.compare.shown import Shown, new_order
from app.compare.views.cards import blind_cards, cards_of, intro_cards, open_cards
from app.compare.views.closer import diff_panel, pull_panel, verdict_panel
from app.compare.vote import VoteHandlers, build_ballot
from prism_core.compare.comparison import ArmAnswer
from prism_core.compare.logprob_shift import LogprobShift
from prism_core.personas.library import load_personas
from prism_core.types import Completion, GateReading, PromptVariant, Verdict

PERSONAS = load_personas()
VARIANT = PromptVariant(PERSONAS["math"])
EVIL = "<img src=x onerror=alert(1)> ${1+1} {{x}} `y` \"'&\u202e\x00"


def answer(arm: str, text: str, **more: object) -> ArmAnswer:
    done = Completion(text, tokens=11, first_token_seconds=0.5, seconds=1.5, finish="stop")
    return ArmAnswer(arm, EVIL, done, None, **more)


ANSWERS = (answer("neutral", "One."), answer("persona", EVIL), answer("control", "Three."))


def tags(fragment: str) -> set[str]:
    return set(re.findall(r"<\s*([a-z0-9]+)", fragment))


def test_escape_leaves_nothing_for_html_or_templates() -> None:
    safe = escape(EVIL)
    assert not set("<>\"'${}`\u202e\x00") & set(safe)
    assert "&lt;img" in safe
    assert escape("a\n\tb") == "a\n\tb"


@pytest.mark.parametrize(
    "fragment",
    [
        notice("error", EVIL, [EVIL]),
        loading(EVIL, 1, 2),
        open_cards((answer("persona", EVIL, note=EVIL),), VARIANT),
        open_cards(
            (ArmAnswer("verify", EVIL, None, Completion(EVIL, thought=EVIL), EVIL),), VARIANT
        ),
        blind_cards(ANSWERS, (1, 0)),
        diff_panel(EVIL, EVIL + " more", EVIL, EVIL),
        pull_panel(LogprobShift((EVIL,), (1.0,), 1.0), EVIL, EVIL),
        verdict_panel(Verdict("persona", 0.7, 0.8), EVIL, EVIL),
    ],
)
def test_foreign_text_is_never_markup(fragment: str) -> None:
    assert "img" not in tags(fragment)
    assert "${" not in fragment
    assert "{{" not in fragment


def test_cards_show_names_and_measures() -> None:
    html = open_cards(ANSWERS, VARIANT)
    assert html.count("<article") == 3
    # 11 tokens, the first after 0.5 s, the last after 1.5 s: 10 tokens in 1.0 s.
    assert html.count("10.0 tok/s") == 3
    assert "0.50 s to first" in html
    assert "1 word, 4 characters" in html
    assert "long · system turn" in html


def test_an_arm_that_cannot_answer_says_why() -> None:
    html = open_cards((ArmAnswer("prism", "PRISM", None, None, "Train an adapter first"),), VARIANT)
    assert "Train an adapter first" in html
    assert "px-metrics" not in html


def test_the_gate_is_shown_with_its_probability() -> None:
    done = Completion("Hi", tokens=1, finish="stop", gate=GateReading(0.734, True))
    gated = ArmAnswer("prism", "PRISM", done, None)
    assert "gate 0.73, open" in open_cards((gated,), VARIANT)
    assert "gate" not in blind_cards((gated,), (0,))


def test_blind_cards_tell_nothing() -> None:
    html = blind_cards(ANSWERS, (2, 0, 1))
    for tell in ("neutral", "persona", "control", "tok/s", "Mathematician", "token"):
        assert tell not in html
    assert [html.index("Three."), html.index("One.")] == sorted(
        [html.index("Three."), html.index("One.")]
    )
    assert "One." not in blind_cards(ANSWERS, (0, 1, 2), withhold=True)


def test_a_vote_lifts_the_veil_in_the_same_order() -> None:
    selection = Selection(question="Why?")
    order = new_order(selection, PERSONAS, blind=True)
    hidden = Shown(order, ANSWERS, "Model", "done")
    assert order.shuffle is not None
    assert "px-persona" not in cards_of(hidden)
    screen = Screen(gr.HTML(), gr.HTML(), gr.State(), gr.State(), gr.Button(), gr.Button())
    vote = VoteHandlers(build_ballot(), screen)
    cast = vote.cast("B", hidden)
    assert set(cast) == {screen.status, screen.cards, screen.shown}
    voted = cast[screen.shown]
    assert voted.vote == ANSWERS[order.shuffle[1]].arm
    assert "Your choice" in cast[screen.cards]
    assert "answer B" in cast[screen.status]
    assert vote.cast("A", voted) == gr.skip()  # a second vote is skipped, not counted
    assert vote.cast("Z", hidden)[screen.shown].vote == "none"
    assert shown_letters(vote, hidden) == [True, True, True, False, False]
    assert shown_letters(vote, voted) == shown_letters(vote, None) == [False] * 5


def shown_letters(vote: VoteHandlers, shown: Shown | None) -> list[bool]:
    """Which letters a visitor can choose."""
    updates = vote.offer(shown)
    assert list(updates) == vote.ballot.outputs
    letters = [updates[button].visible for button in vote.ballot.letters]
    assert updates[vote.ballot.box].visible == any(letters)
    return letters


def test_a_running_blind_comparison_with_a_late_arm_shows_no_text() -> None:
    order = new_order(Selection(question="Why?", arms=("neutral", "verify")), PERSONAS, blind=True)
    answers = (ANSWERS[0], ArmAnswer("verify", "", None, ANSWERS[1].completion))
    assert "One." not in cards_of(Shown(order, answers, "Model", "running"))
    assert "One." in cards_of(Shown(order, answers, "Model", "done"))


def test_diff_marks_what_only_one_has() -> None:
    html = diff_panel("the red cat", "the blue cat sleeps", "Left", "Right")
    assert "<del>red</del>" in html
    assert "<ins>blue</ins>" in html
    assert "2 words in common" in html
    assert "50%" in html  # 2 of the 4 words of the longer answer
    same = diff_panel("same words", "same words", "L", "R")
    assert "<del>" not in same
    assert "<ins>" not in same


def test_pull_shows_sum_mean_and_factor() -> None:
    pulled = LogprobShift((" a", "b\n"), (math.log(20), -math.log(2)), math.log(10))
    html = pull_panel(pulled, "Chef", "its own answer")
    assert "+2.30 nats" in html  # ln 20 - ln 2 = ln 10 = 2.303
    assert "+1.151 a token" in html  # 2.303 / 2
    assert "10.0 times likelier" in html
    assert "20.0 times" in html
    assert "1/2.0" in html
    assert 'class="px-for" style="--px-pull:1.00" title="+3.00 nats"' in html  # ln 20 = 2.996
    assert 'class="px-against"' in html


def test_verdict_says_whether_the_orders_agree() -> None:
    agree = verdict_panel(Verdict("persona", 0.7, 0.8), "Tiny", "Persona")
    assert "Persona wins" in agree
    assert "Both orders agree" in agree
    assert "70.0%" in agree
    split = verdict_panel(Verdict("tie", 0.9, 0.2), "Tiny", "Persona")
    assert "A tie" in split
    assert "it chose whichever answer was shown first" in split
    assert "opinion of Tiny" in split


def test_intro_cards_and_small_words() -> None:
    assert intro_cards(("neutral", "prism")).count("<article") == 2
    assert [count(1, "token"), count(1234, "token")] == ["1 token", "1,234 tokens"]
    assert "width:50%" in loading("x", 1, 2)
    assert "width:0%" in loading("x", 1, 0)
    assert notice("info", "") == ""


def test_history_as_a_table() -> None:
    order = new_order(Selection(question="Why " * 50), PERSONAS, blind=False)
    entries = [entry_of(Shown(order, ANSWERS, "Model", "done", vote)) for vote in (None, "none")]
    frame = history_frame(entries)
    assert list(frame.columns) == HISTORY_COLUMNS
    assert list(frame["Vote"]) == ["No preference", ""]  # the latest first
    assert frame["Tokens"][0] == 33
    assert len(frame["Question"][0]) == 90
    assert list(history_frame([]).columns) == HISTORY_COLUMNS


def test_stop_reaches_what_runs_and_what_waits() -> None:
    running = Running()
    event = running.start("page", "a")
    running.stop("page", "a")
    assert event.is_set()
    assert running.was_stopped("a")
    running.stop("page", "b")  # still in the queue
    assert running.start("page", "b").is_set()
    first = running.start("page", "c")
    second = running.start("page", "d")
    assert first.is_set()  # one comparison a page
    running.finish("page", first)
    running.forget("page")
    assert second.is_set()
    for i in range(REMEMBERED + 1):
        running.stop("x", f"order{i}")
    assert not running.was_stopped("a")  # memory is bounded
