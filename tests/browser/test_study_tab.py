"""The Study tab as a visitor meets it: a real, tiny study in a real worker, real Chromium."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.browser import cancel_at_once, open_tab

from prism_core.storage import Store
from prism_core.study.records import ANSWERS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
Visit = Callable[..., Page]
RUN_MS = 300_000
"""How long a tiny study may take on a slow, busy machine."""
BAD = (
    ("#px-study-name :is(input, textarea)", "", "The name '' is not allowed"),
    ("#px-study-n input", "", "Items of each category is empty"),
    ("#px-study-n input", "-3", "Items of each category is '-3'; it must be a whole number from 1"),
    ("#px-study-temperature input", "-0.5", "Temperature is '-0.5'; it must be a number from 0"),
    ("#px-study-repeats input", "3", "repeats at temperature 0"),
    ("#px-study-models input", "/no/such/place", "there is no model at '/no/such/place'"),
)
"""Where something is typed that cannot be run, what, and what the page must say; models last."""


def open_study(page: Page) -> Page:
    open_tab(page, "Study")
    expect(page.locator("#px-study-plan")).to_contain_text("What will happen", timeout=60_000)
    return page


def test_the_plan_follows_the_form(visit: Visit) -> None:
    page = open_study(visit())
    plan = page.locator("#px-study-plan")
    # neutral and three texts; 4 categories of knowledge and 2 of safety with 20 items each
    expect(plan).to_contain_text("480")
    page.locator("#px-study-lengths").get_by_label("Minimal").check()
    expect(plan).to_contain_text("840", timeout=30_000)  # 1 + 3 x 2 cells x 120 items
    expect(plan).to_contain_text("points")
    page.locator("#px-study-personas").get_by_role("button", name="Clear").click()
    expect(plan).to_contain_text("nothing to compare with neutral", timeout=30_000)


def test_what_cannot_be_run_is_said_in_place(visit: Visit) -> None:
    page = open_study(visit())
    alert = page.locator("#px-study-start-status [role=alert]")
    for where, value, sentence in BAD:
        box = page.locator(where)
        before = box.input_value()
        box.fill(value)
        if "models" in where:
            page.keyboard.press("Enter")
        box.press("Tab")
        page.wait_for_timeout(300)  # the plan's answer must not wipe the sentence away
        page.click("#px-study-start")
        expect(alert).to_contain_text(sentence, timeout=30_000)
        box.fill(before)
        box.press("Tab")
    expect(page.locator("#px-study-watch")).to_be_hidden()


def test_a_spec_goes_from_the_form_to_yaml_and_back(visit: Visit) -> None:
    page = open_study(visit())
    page.locator("#px-study-mode").get_by_label("A spec as YAML").check()
    expect(page.locator("#px-study-plan")).to_contain_text("Paste a spec", timeout=30_000)
    page.click("#px-study-fill")
    text = page.locator("#px-study-yaml textarea")
    expect(text).to_have_value(re.compile("personas:"), timeout=30_000)
    expect(page.locator("#px-study-plan")).to_contain_text("480", timeout=30_000)
    text.fill("evil: true")
    text.press("Tab")
    expect(page.locator("#px-study-plan")).to_contain_text("no field 'evil'", timeout=30_000)


def write_spec(page: Page, spec: Path, text: str) -> None:
    """Bring a spec as a file."""
    spec.write_text(text, encoding="utf-8")
    page.locator("#px-study-mode").get_by_label("A spec as YAML").check()
    with page.expect_file_chooser() as chooser:
        page.click("#px-study-yaml-file")
    chooser.value.set_files(spec)


def test_a_study_from_start_to_explore(visit: Visit, data_home: Path, tmp_path: Path) -> None:
    page = open_study(visit())
    write_spec(
        page,
        tmp_path / "tiny.yaml",
        "name: Tiny <b>study</b>\ntasks: [knowledge]\npersonas: [math, neutral_text]\n"
        "lengths: [short]\nn_per_category: 3\n",
    )
    expect(page.locator("#px-study-plan")).to_contain_text("36", timeout=30_000)  # 3 x 12
    page.click("#px-study-start")
    expect(page.locator("#px-study-panel")).to_contain_text("Tiny <b>study</b>", timeout=30_000)
    page.wait_for_function("location.search.includes('study=')")

    page.reload()  # as if the connection had been lost
    expect(page.locator("#px-study-panel")).to_contain_text("Tiny <b>study</b>", timeout=60_000)
    expect(page.locator("#px-study-panel .px-state")).to_have_text("Done", timeout=RUN_MS)
    if page.get_by_role("tab", name="Explore", exact=True).get_attribute("aria-selected") != "true":
        open_tab(page, "Study")
        page.click("#px-study-explore")
    expect(page.locator("#px-first-plot .js-plotly-plot .main-svg").first).to_be_visible(
        timeout=60_000
    )
    expect(page.locator("#px-study-about")).to_contain_text("36 answers")
    expect(page.locator("#px-first-reading")).to_contain_text("too few items for a verdict")
    run_id = page.url.split("study=")[1]
    assert any(data_home.rglob(f"*{run_id}*"))


@pytest.mark.slow  # the worker tests cancel and resume in every run
def test_cancel_explore_what_there_is_resume_and_delete(
    visit: Visit, data_home: Path, tmp_path: Path
) -> None:
    page = open_study(visit())
    write_spec(
        page,
        tmp_path / "long.yaml",
        "name: Long study\ntasks: [knowledge]\npersonas: [critic, math, stem, coding]\n"
        "lengths: [short, long]\nplacements: [system, user]\nn_per_category: 60\n",
    )
    expect(page.locator("#px-study-plan")).to_contain_text("4,080", timeout=30_000)  # 17 x 240
    page.click("#px-study-start")
    expect(page.locator("#px-study-explore")).to_be_visible(timeout=RUN_MS)  # there are answers
    run_id = page.url.split("study=")[1]
    cancel_at_once(page, "#px-study-cancel", data_home, run_id)
    with Store(home=data_home) as store:
        before = store.count_records(run_id)[ANSWERS]
    expect(page.locator("#px-study-panel .px-state")).to_have_text("Cancelled")
    page.click("#px-study-explore")
    expect(page.locator("#px-study-about")).to_contain_text(f"{before:,} answers", timeout=60_000)

    open_tab(page, "Study")
    page.click("#px-study-resume")
    with Store(home=data_home) as store:
        end = time.monotonic() + RUN_MS / 1000
        while store.count_records(run_id)[ANSWERS] <= before:  # it goes on where it was
            assert time.monotonic() < end
            time.sleep(0.2)
    page.click("#px-study-cancel")
    expect(page.locator("#px-study-panel .px-state")).to_have_text("Cancelled")
    page.click("#px-study-run-delete")
    page.locator("#px-study-run-confirm").get_by_role("button", name="Yes, delete it").click()
    expect(page.locator("#px-study-watch")).to_be_hidden()
