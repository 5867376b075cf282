"""The RL tab as a visitor meets it: a real, tiny run in a real worker, real Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from support.browser import ANSWER_MS, nothing_sticks_out, open_tab, set_number, unfold

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
Visit = Callable[..., Page]
RUN_MS = 600_000
"""How long a tiny run may take on a slow, busy machine."""


def open_rl(page: Page) -> Page:
    open_tab(page, "RL")
    expect(page.locator("#px-rl-plan")).to_contain_text("training never saw", timeout=60_000)
    return page


def choose_tiny(page: Page, name: str, steps: int) -> None:
    page.locator("#px-rl-name :is(input, textarea)").fill(name)
    set_number(page, "#px-rl-level", 0)
    unfold(page, "Advanced")
    for where, value in (
        ("steps", steps),
        ("prompts", 1),
        ("rollouts", 4),
        ("held-out", 8),
        ("repeats", 1),
        ("answer-tokens", 4),
        ("rank", 2),
    ):
        set_number(page, f"#px-rl-{where}", value)
    expect(page.locator("#px-rl-plan")).to_contain_text(f"{steps} steps of 1 questions")


def test_the_plan_follows_the_form_and_mistakes_are_said_in_place(visit: Visit) -> None:
    page = open_rl(visit())
    expect(page.locator("#px-rl-plan")).to_contain_text("70% of the prompts carry a persona")
    page.locator("#px-rl-arm").get_by_label("RLVR, without personas").first.check()
    expect(page.locator("#px-rl-plan")).to_contain_text("No prompt carries a persona")
    page.get_by_role("button", name="The pool of personas").click()
    expect(page.locator("#px-rl-pool")).to_contain_text("terrible at math and answer carelessly")
    set_number(page, "#px-rl-level", 7)
    expect(page.locator("#px-rl-plan")).to_contain_text("level is 7")
    page.click("#px-rl-start")
    expect(page.locator("#px-rl-status [role=alert]")).to_contain_text("level is 7")
    expect(page.locator("#px-rl-watch")).to_be_hidden()
    unfold(page, "Advanced")
    nothing_sticks_out(page)


@pytest.mark.slow
def test_a_run_from_start_to_compare(visit: Visit) -> None:
    page = open_rl(visit())
    choose_tiny(page, "Tiny <b>RL</b>", 2)
    page.click("#px-rl-start")
    expect(page.locator("#px-rl-panel")).to_contain_text("Tiny <b>RL</b>", timeout=30_000)
    page.wait_for_function("location.search.includes('rl=')")
    page.reload()  # as if the browser had been closed
    expect(page.get_by_role("tab", name="RL", exact=True)).to_have_attribute(
        "aria-selected", "true", timeout=30_000
    )
    expect(page.locator("#px-rl-panel .px-state")).to_have_text("Done", timeout=RUN_MS)
    expect(page.locator("#px-rl-results")).to_contain_text("Gained, paired by question")
    rollouts = page.locator("#px-rl-rollouts .px-rollout")
    assert rollouts.count() == 8
    expect(rollouts.first.locator(".px-state")).to_have_text(re.compile("right|wrong"))
    for plot in ("reward", "kl", "length"):
        expect(page.locator(f"#px-rl-{plot} .scatterlayer .trace").first).to_be_attached()

    page.click("#px-rl-try")
    expect(page.locator("#px-adapter input")).to_have_value("Tiny <b>RL</b>", timeout=20_000)
    page.fill("#px-question textarea", "Who are you?")
    unfold(page, "Sampling and model")
    set_number(page, "#px-tokens", 8)
    page.click("#px-run")
    expect(page.locator("#px-status .px-done")).to_be_visible(timeout=ANSWER_MS * 2)
    expect(page.locator(".px-prism .px-metrics")).to_contain_text("gate 1.00, open")


@pytest.mark.slow
def test_cancel_resume_and_delete(visit: Visit) -> None:
    page = open_rl(visit())
    choose_tiny(page, "Long run", 400)
    page.click("#px-rl-start")
    expect(page.locator("#px-rl-panel")).to_contain_text("Long run", timeout=30_000)
    expect(page.locator("#px-rl-rollouts .px-rollout").first).to_be_visible(timeout=RUN_MS)
    page.click("#px-rl-cancel")
    expect(page.locator("#px-rl-panel .px-state")).to_have_text("Cancelled", timeout=15_000)
    page.click("#px-rl-resume")
    expect(page.locator("#px-rl-cancel")).to_be_visible(timeout=20_000)
    page.click("#px-rl-cancel")
    expect(page.locator("#px-rl-panel .px-state")).to_have_text("Cancelled", timeout=30_000)
    page.click("#px-rl-delete")
    page.locator("#px-rl-confirm").get_by_role("button", name="Yes, delete it").click()
    expect(page.locator("#px-rl-watch")).to_be_hidden(timeout=20_000)
