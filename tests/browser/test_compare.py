"""The Compare tab as a visitor meets it: real model, real Chromium."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
from playwright.sync_api import Page, expect
from support.browser import ANSWER_MS, nothing_sticks_out, set_number, unfold

pytestmark = pytest.mark.browser
Visit = Callable[..., Page]

SHORT = {"max_new_tokens": 12, "temperature": 0, "repetition_penalty": 1}
ANSWER = ".px-arm:not(.px-intro) > .px-text"


def link(**inputs: object) -> str:
    """A link that fills in the inputs, with short greedy answers unless told otherwise."""
    return "?" + urlencode({**SHORT, **inputs})


def ready(page: Page) -> Page:
    """Wait until the link has filled in the inputs."""
    expect(page.locator("#px-status")).to_contain_text("The link filled in the inputs")
    return page


def finish(page: Page) -> None:
    expect(page.locator("#px-status .px-done")).to_be_visible(timeout=ANSWER_MS)


def compare(page: Page) -> None:
    page.evaluate("document.querySelector('#px-status .px-done')?.classList.remove('px-done')")
    page.click("#px-run")
    finish(page)


def texts(page: Page) -> list[str]:
    return page.locator(ANSWER).all_inner_texts()


def open_history(page: Page) -> None:
    page.get_by_role("button", name="Your history").click()


def rows(page: Page) -> int:
    """How many comparisons the fold's label says there are."""
    label = page.locator("#px-history > button").inner_text()
    return int(label.split("(")[1].split(")")[0]) if "(" in label else 0


def download(page: Page, name: str) -> str:
    with page.expect_download() as got:
        page.get_by_role("button", name=name, exact=True).click()
    return Path(got.value.path()).read_text(encoding="utf-8")


def test_type_pick_and_stream(visit: Visit) -> None:
    page = ready(visit(link(max_new_tokens=40)))
    page.fill("#px-question textarea", "Name three colours.")
    page.click("#px-persona input")
    page.get_by_role("option", name="Critic").click()
    page.get_by_label("Short", exact=True).check()
    page.get_by_label("User turn").check()
    page.locator("#px-question textarea").press("Control+Enter")
    expect(page.locator(ANSWER)).to_have_count(3, timeout=ANSWER_MS)
    expect(page.locator(".px-caret").first).to_be_visible(timeout=ANSWER_MS)  # still writing
    early = texts(page)
    finish(page)
    late = texts(page)
    assert any(len(b) > len(a) for a, b in zip(early, late, strict=True))
    assert all(text.strip() for text in late)
    expect(page.locator(".px-persona .px-detail")).to_have_text("Critic · short · user turn")
    for part in ("token", "tok/s", "s to first", "word", "character"):
        expect(page.locator(".px-persona .px-metrics")).to_contain_text(part)
    expect(page.locator("#px-stop")).to_be_hidden()


def test_same_inputs_give_the_same_answers(visit: Visit) -> None:
    page = ready(visit(link(question="Say hello.", temperature=0.8, seed=7)))
    compare(page)
    first = texts(page)
    compare(page)
    assert texts(page) == first


def test_stop_in_the_middle_then_run_again(visit: Visit) -> None:
    page = ready(visit(link(question="Tell a long story about the sea.", max_new_tokens=1000)))
    page.click("#px-run")
    expect(page.locator(".px-caret").first).to_be_visible(timeout=ANSWER_MS)
    page.click("#px-stop")
    expect(page.locator("#px-status")).to_contain_text("Stopped after", timeout=15_000)
    expect(page.locator(".px-caret")).to_have_count(0)
    expect(page.locator("#px-run")).to_be_enabled()
    stopped = texts(page)
    page.wait_for_timeout(1500)
    assert texts(page) == stopped  # nothing goes on writing
    unfold(page, "Sampling and model")
    set_number(page, "#px-tokens", 8)
    compare(page)
    assert len(texts(page)) == 3
    expect(page.locator(".px-neutral .px-metrics")).to_contain_text("8 tokens")


def test_verify_shows_both_texts_and_prism_answers_with_the_shipped_adapter(visit: Visit) -> None:
    page = ready(visit(link(question="What is 2 + 2?", arms="neutral,verify,prism")))
    compare(page)
    page.locator(".px-verify summary").click()
    assert page.locator(".px-verify .px-draft .px-text").inner_text().strip()
    assert page.locator(".px-verify > .px-text").inner_text().strip()
    # The gate stays closed on arithmetic, so PRISM's text is the neutral one to the letter.
    expect(page.locator(".px-prism")).to_contain_text("closed")
    assert page.locator(".px-prism > .px-text").inner_text() == texts(page)[0]


def test_diff_pull_and_judge(visit: Visit) -> None:
    page = ready(visit(link(question="Why is the sky blue?", max_new_tokens=24, persona="stem")))
    compare(page)
    page.click("#px-fold-diff > button")
    expect(page.locator("#px-diff")).to_contain_text("in common")
    left, right = page.locator("#px-diff .px-text").all_inner_texts()
    assert [left.split(), right.split()] == [t.split() for t in texts(page)[:2]]
    page.click("#px-fold-pull > button")
    for whose, place in (("Persona", 1), ("Neutral", 0)):
        page.locator("#px-whose").get_by_label(whose).check()
        page.click("#px-pull-run")
        phrase = "its own answer" if whose == "Persona" else "the neutral answer"
        expect(page.locator("#px-pull")).to_contain_text(phrase, timeout=ANSWER_MS)
        shown = page.locator("#px-pull .px-tokens").inner_text().replace("↵", "")
        assert shown.split() == texts(page)[place].split()
        pulls = [
            float(p.split()[0])
            for p in page.locator("#px-pull .px-tokens span").evaluate_all(
                "spans => spans.map(s => s.title)"
            )
        ]
        total = float(page.locator("#px-pull strong").inner_text().split()[0])
        assert total == pytest.approx(sum(pulls), abs=0.005 * len(pulls) + 0.01)  # rounded each
    page.click("#px-fold-judge > button")
    page.click("#px-judge-run")
    expect(page.locator("#px-judge")).to_contain_text("opinion of SmolLM2", timeout=ANSWER_MS)
    shares = [float(t.rstrip("%")) for t in page.locator("#px-judge b").all_inner_texts()]
    assert len(shares) == 2
    assert all(0 <= share <= 100 for share in shares)
    agree = (shares[0] > 50) == (shares[1] > 50)
    expect(page.locator("#px-judge")).to_contain_text("agree" if agree else "disagree")


def test_history_is_exported_and_survives_a_reload(visit: Visit) -> None:
    page = ready(visit(link(question="=1+1 is what?", arms="neutral,persona")))
    compare(page)
    expect(page.locator("#px-history > button")).to_contain_text("(1)")
    open_history(page)
    table = list(csv.DictReader(io.StringIO(download(page, "Export CSV"))))
    assert [row["arm"] for row in table] == ["neutral", "persona"]
    assert {row["question"] for row in table} == {"'=1+1 is what?"}  # no formula for a spreadsheet
    assert [row["text"].lstrip("'") for row in table] == texts(page)
    [entry] = [json.loads(line) for line in download(page, "Export JSONL").splitlines()]
    assert entry["question"] == "=1+1 is what?"
    page.reload()
    expect(page.locator("#px-history > button")).to_contain_text("(1)")
    open_history(page)
    page.get_by_role("button", name="Clear history").click()
    expect(page.locator("#px-history > button")).not_to_contain_text("(")
    page.reload()
    page.wait_for_selector("#px-run")
    page.wait_for_timeout(1000)
    assert rows(page) == 0


def test_link_brings_the_inputs_back(visit: Visit) -> None:
    page = ready(
        visit(link(question="Who wrote Hamlet? é/&?", persona="critic", length="short", seed=5))
    )
    page.click("#px-link")
    box = page.locator("#px-link-box textarea, #px-link-box input")
    expect(box).to_have_value(copied_url(page), timeout=10_000)
    wanted = parse_qs(urlparse(page.url).query)
    assert wanted["question"] == ["Who wrote Hamlet? é/&?"]
    page.reload()
    ready(page)
    expect(page.locator("#px-question textarea")).to_have_value("Who wrote Hamlet? é/&?")
    expect(page.locator("#px-persona input")).to_have_value("Critic")
    expect(page.get_by_label("Short", exact=True)).to_be_checked()
    unfold(page, "Sampling and model")
    expect(page.locator("#px-seed input")).to_have_value("5")
    expect(page.locator("#px-tokens input[type=number]")).to_have_value("12")


def test_a_link_with_mistakes_says_which(visit: Visit) -> None:
    page = visit("?question=Hello&persona=nobody&length=huge&seed=-4&temperature=hot&arms=x")
    status = page.locator("#px-status")
    expect(status).to_contain_text("There is no persona 'nobody'")
    for bad in ("'huge'", "'-4'", "'hot'", "'x'"):
        expect(status).to_contain_text(bad)
    expect(page.locator("#px-question textarea")).to_have_value("Hello")
    expect(page.locator("#px-persona input")).to_have_value("Mathematician")


def test_two_visitors_are_served_together_stop_and_leave(visit: Visit) -> None:
    one = ready(visit(link(question="The first visitor asks.", max_new_tokens=200)))
    two = ready(visit(link(question="The second visitor asks.", max_new_tokens=200)))
    are_served_together(one, two)
    one.fill("#px-question textarea", "Tell a very long story.")
    unfold(one, "Sampling and model")
    set_number(one, "#px-tokens", 1000)
    stop_beside_another(one, two)
    leave_while_writing(one, two)


def begin(page: Page) -> None:
    """Start a comparison and wait for its first words."""
    page.click("#px-run")
    expect(page.locator(".px-caret").first).to_be_visible(timeout=ANSWER_MS)


def are_served_together(one: Page, two: Page) -> None:
    """The second need not wait for the first; each keeps a history of its own."""
    begin(one)
    begin(two)
    assert one.locator(".px-caret").count(), "the first is still being answered"
    finish(one)
    finish(two)
    for page, own, other in ((one, "first", "second"), (two, "second", "first")):
        expect(page.locator("#px-history > button")).to_contain_text("(1)")
        open_history(page)
        lines = download(page, "Export JSONL")
        assert f"The {own} visitor" in lines
        assert f"The {other} visitor" not in lines


def stop_beside_another(one: Page, two: Page) -> None:
    """Who stops leaves the batch; whoever is in it goes on."""
    begin(one)
    begin(two)
    two.click("#px-stop")
    expect(two.locator("#px-status")).to_contain_text("Stopped after")
    two.wait_for_timeout(1500)
    expect(two.locator("#px-status")).to_contain_text("Stopped after")
    assert one.locator(".px-caret").count(), "the first is still being answered"
    one.click("#px-stop")
    expect(one.locator("#px-status")).to_contain_text("Stopped after")
    compare(two)
    assert len(texts(two)) == 3


def leave_while_writing(one: Page, two: Page) -> None:
    """Who closes the page makes room for the next."""
    begin(one)
    one.close()
    compare(two)  # 3 x 1,000 tokens would take minutes
    seconds = float(two.locator("#px-status").inner_text().rsplit(" in ", 1)[1].split(" s")[0])
    assert seconds < 60


def test_two_tabs_of_one_visitor_keep_each_other_s_history(visit: Visit) -> None:
    one = ready(visit(link(question="The first tab asks.")))
    two = one.context.new_page()
    two.goto(one.url.split("?")[0] + link(question="The second tab asks."))
    ready(two)
    for page, rows_then in ((one, 1), (two, 2), (one, 3)):
        compare(page)
        for tab in (one, two):
            expect(tab.locator("#px-history > button")).to_contain_text(f"({rows_then})")
    one.reload()
    expect(one.locator("#px-history > button")).to_contain_text("(3)")
    open_history(two)
    two.get_by_role("button", name="Clear history").click()
    for tab in (one, two):
        expect(tab.locator("#px-history > button")).not_to_contain_text("(")


def test_what_cannot_be_asked(visit: Visit) -> None:
    page = ready(visit(link()))
    for question, sentence in (
        ("", "The question is empty"),
        ("x" * 9000, "at most 8,000 are allowed"),
        ("   \u200b\u202e ", "The question is empty"),
    ):
        page.fill("#px-question textarea", question)
        page.click("#px-run")
        expect(page.locator("#px-status [role=alert]")).to_contain_text(sentence)
        expect(page.locator("#px-run")).to_be_enabled()
        expect(page.locator("#px-stop")).to_be_hidden()
    page.fill("#px-question textarea", "Hello")
    for name in ("Neutral", "Persona", "Control"):
        page.locator("#px-arms").get_by_label(name, exact=True).uncheck()
    page.click("#px-run")
    expect(page.locator("#px-status [role=alert]")).to_contain_text("No arm is chosen")


def test_strange_questions_are_shown_safely(visit: Visit) -> None:
    page = ready(visit(link(arms="neutral,persona", max_new_tokens=8)))
    for number, question in enumerate(
        (
            "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>",
            "${window.hacked = 1} {{window.hacked}} `x` **bold** [link](javascript:hacked=1)",
            "مرحبا، كيف حالك؟ \u202eabc",  # from right to left
            "a\x07b\x1b[31m c",
        ),
        start=1,
    ):
        page.fill("#px-question textarea", f"Repeat {number}: " + question)
        compare(page)
        if number == 1:
            open_history(page)
        expect(page.locator("#px-history-table")).to_contain_text(f"Repeat {number}:")
        assert page.evaluate("window.hacked") is None
        assert page.locator("#px-cards script, #px-cards img, #px-history-table img").count() == 0


def test_blind_vote_hides_until_the_vote_and_exports_pairs(visit: Visit) -> None:
    page = ready(visit(link(question="Why do cats purr?", max_new_tokens=16)))
    page.locator("#px-blind input").check()
    page.click("#px-run")
    finish(page)
    expect(page.locator("#px-ballot")).to_be_visible()
    cards = page.locator("#px-cards").inner_html()
    for tell in ("px-neutral", "px-persona", "px-control", "Neutral", "Mathematician", "tok/s"):
        assert tell not in cards
    assert rows(page) == 0  # the browser is told nothing either
    expect(page.locator("#px-closer")).to_be_hidden()
    blind = texts(page)
    page.click("#px-vote-B")
    expect(page.locator("#px-status")).to_contain_text("You chose answer B")
    assert texts(page) == blind  # the veil lifts, the order stays
    expect(page.locator(".px-arm").nth(1).locator(".px-badge")).to_have_text("Your choice")
    expect(page.locator("#px-closer")).to_be_visible()
    expect(page.locator("#px-history > button")).to_contain_text("(1)")
    open_history(page)
    pairs = [json.loads(t) for t in download(page, "Export preference pairs").splitlines()]
    others = [blind[0].strip(), blind[2].strip()]
    assert {p["rejected"] for p in pairs} == {t for t in others if t != blind[1].strip()}
    for pair in pairs:
        assert set(pair) == {"prompt", "chosen", "rejected"}
        assert (pair["prompt"], pair["chosen"]) == ("Why do cats purr?", blind[1].strip())


def test_surprise_me_is_one_click_from_a_result(visit: Visit) -> None:
    page = visit()
    page.click("#px-surprise")
    expect(page.locator(".px-caret").first).to_be_visible(timeout=ANSWER_MS)
    assert page.locator("#px-question textarea").input_value()
    page.click("#px-stop")
    expect(page.locator("#px-status")).to_contain_text("Stopped after")


@pytest.mark.parametrize(("scheme", "widths"), [("light", (1280, 390)), ("dark", (390, 1280))])
def test_layout(visit: Visit, scheme: str, widths: tuple[int, int]) -> None:
    page = ready(
        visit(
            link(question="Hello", max_new_tokens=6),
            viewport={"width": widths[0], "height": 900},
            color_scheme=scheme,
        )
    )
    compare(page)
    for width in widths:
        nothing_sticks_out(page, [width])
        tops = {round(page.locator(".px-arm").nth(i).bounding_box()["y"]) for i in range(3)}
        assert len(tops) == (1 if width == 1280 else 3)  # side by side, or stacked
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    page.click("#px-appearance")
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "light")


def copied_url(page: Page) -> str:
    """The address after the link was copied."""
    page.wait_for_function("location.search.includes('control=')")
    return page.url
