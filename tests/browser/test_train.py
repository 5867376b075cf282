"""The Train tab as a visitor meets it: real runs in a real worker, real Chromium."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect
from support.browser import (
    ANSWER_MS,
    cancel_at_once,
    nothing_sticks_out,
    open_tab,
    set_number,
    unfold,
)
from support.train_records import EVIL, finish, make_run

from prism_core.lora.training import save_lora, trainable_lora
from prism_core.models.local import LocalModel
from prism_core.prism.bundle import identify
from prism_core.prism.bundle_files import BundleInfo, write_info
from prism_core.prism.gating.gate import Gate
from prism_core.storage import Store

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
Visit = Callable[..., Page]
RUN_MS = 300_000
"""How long a tiny run may take on a slow, busy machine."""
BAD = (
    ("#px-train-name :is(input, textarea)", " ", "The name '' is not allowed"),
    ("#px-train-rank input", "0", "Rank is '0'; it must be a whole number from 1 to 128"),
    ("#px-train-rank input", "", "Rank is empty"),
    ("#px-train-model input", "/no/such/place", "there is no model at '/no/such/place'"),
)
"""Where something is typed that cannot be run, what, and what the page must say."""


@pytest.fixture(autouse=True)
def _no_run_goes_on(data_home: Path) -> Iterator[None]:
    """Stop what a test leaves at work: a worker would slow every later test down."""
    yield
    with Store(home=data_home) as store:
        for run in store.list_runs(statuses=["queued", "running"]):
            store.request_cancel(run.id)


def open_train(page: Page) -> Page:
    open_tab(page, "Train")
    expect(page.locator("#px-plan")).to_contain_text("What will happen", timeout=60_000)
    return page


def choose_custom(page: Page, name: str, personas: tuple[str, ...], queries: int) -> None:
    """Fill the form in for a run of 16-token answers."""
    page.locator("#px-preset").get_by_label("Custom").check()
    expect(page.locator("#px-train-personas")).to_be_visible()
    page.locator("#px-train-personas").get_by_role("button", name="Clear").click()
    expect(page.locator("#px-plan")).to_contain_text("No persona is chosen")
    for persona in personas:
        page.click("#px-train-personas input")
        page.get_by_role("option", name=persona).click()
    page.keyboard.press("Escape")
    set_number(page, "#px-queries", queries)
    unfold(page, "Advanced")
    set_number(page, "#px-train-answer-tokens", 16)
    set_number(page, "#px-train-rank", 4)
    page.locator("#px-train-name :is(input, textarea)").fill(name)
    expect(page.locator("#px-plan")).to_contain_text(
        f"{len(personas) * queries} in all", timeout=20_000
    )


def start(page: Page, name: str) -> str:
    """Press Start and wait until the run is shown; gives its id."""
    page.click("#px-train-start")
    expect(page.locator("#px-run-panel")).to_contain_text(name, timeout=30_000)
    page.wait_for_function("location.search.includes('run=')")
    return page.url.split("run=")[1]


def state(page: Page) -> str:
    return page.locator("#px-run-panel .px-state").inner_text()


def give_adapter(folder: Path, model: LocalModel) -> None:
    """Put a real, random adapter with an open gate where a run with wins would have."""
    with trainable_lora(model.model, 2, 4, seed=0) as peft:
        save_lora(peft, folder, model.name, "float16")
    gate = Gate(model.model.config.hidden_size)
    with torch.no_grad():
        gate.net[-1].bias.fill_(9.0)
        gate.net[-1].weight.zero_()
    gate.save(folder)
    write_info(folder, BundleInfo("Tiny adapter", identify(model), personas=("math",)))


def test_what_cannot_be_run_is_said_in_place(visit: Visit) -> None:
    page = open_train(visit())
    unfold(page, "Advanced")
    for where, value, sentence in BAD:
        box = page.locator(where)
        before = box.input_value()
        box.fill(value)
        box.press("Tab")
        page.click("#px-train-start")
        expect(page.locator("#px-train-status [role=alert]")).to_contain_text(sentence)
        page.wait_for_timeout(300)  # the answer to an earlier event must not wipe it away
        expect(page.locator("#px-train-status [role=alert]")).to_be_visible()
        box.fill(before)
        box.press("Tab")
        expect(page.locator("#px-train-status [role=alert]")).to_have_count(0)
    expect(page.locator("#px-watch")).to_be_hidden()
    page.locator("#px-preset").get_by_label("Custom").check()
    expect(page.locator("#px-train-personas")).to_be_visible()
    nothing_sticks_out(page)


def test_a_run_from_start_to_end(visit: Visit, data_home: Path, model: LocalModel) -> None:
    page = open_train(visit())
    choose_custom(page, "Tiny <b>run</b>", ("Mathematician", "Writer and editor"), 2)
    run_id = start(page, "Tiny <b>run</b>")
    expect(page.locator(".px-step-now")).to_be_visible(timeout=RUN_MS)  # the worker has begun

    page.reload()  # as if the browser had been closed
    expect(page.get_by_role("tab", name="Train", exact=True)).to_have_attribute(
        "aria-selected", "true", timeout=30_000
    )
    expect(page.locator("#px-run-panel")).to_contain_text("Tiny <b>run</b>")
    expect(page.locator(".px-state")).to_have_text("Done", timeout=RUN_MS)
    look_at_findings(page)

    trained = a_trained_run(data_home, run_id, model)
    page.goto(f"{page.url.split('?')[0]}?run={trained}")
    look_at_the_gate(page)
    try_in_compare(page)
    keep_and_delete(page)


def a_trained_run(home: Path, like: str, model: LocalModel) -> str:
    """A finished run of the same visitor with wins, a gate and a table; gives its id."""
    with Store(home=home) as store:
        run = finish(store, make_run(store, store.get_run(like).owner))
    give_adapter(run.path / "adapter", model)
    return run.id


def look_at_findings(page: Page) -> None:
    """Browse the questions, filter them, read about the judge."""
    pairs = page.locator("#px-pairs .px-pair")
    expect(pairs).to_have_count(4, timeout=30_000)
    expect(pairs.first).to_contain_text("shown first")
    assert all(t.strip() for t in page.locator("#px-pairs .px-text").all_inner_texts())
    page.click("#px-f-persona input")
    page.get_by_role("option", name="Mathematician").last.click()
    expect(pairs).to_have_count(2)
    page.fill("#px-f-text input, #px-f-text textarea", "zzzz no such word")
    expect(page.locator("#px-pairs")).to_contain_text("No judged question fits")
    page.locator("#px-results-tabs").get_by_role("tab", name="Judge").click()
    expect(page.locator("#px-judge-check")).to_contain_text("Judge check: score")
    expect(page.locator("#px-judge-check")).to_contain_text("n = 40")
    assert page.locator("#px-routes .bars path").count() > 0  # Plotly has drawn


def look_at_the_gate(page: Page) -> None:
    """Curves, a threshold that is moved and saved, the table; answers stay plain text."""
    expect(page.locator("#px-pairs .px-pair")).to_have_count(5, timeout=30_000)
    expect(page.locator("#px-pairs")).to_contain_text(EVIL)
    subtab = page.locator("#px-results-tabs")
    subtab.get_by_role("tab", name="Gate").click()
    for plot in ("#px-roc", "#px-pr", "#px-cal"):
        expect(page.locator(f"{plot} .scatterlayer path").first).to_be_attached()
    # Held-out wins at 0.9 and 0.6, losses at 0.7 and 0.1: from 0.65 on one of each is opened.
    before = page.locator("#px-at-threshold").inner_text()
    set_number(page, "#px-threshold", 0.65)
    expect(page.locator("#px-at-threshold")).not_to_have_text(before)
    page.click("#px-threshold-save")
    expect(page.locator("#px-threshold-status")).to_contain_text("now opens from 0.65 on")
    subtab.get_by_role("tab", name="Distillation").click()
    expect(page.locator("#px-distil-curve .scatterlayer path").first).to_be_attached()
    subtab.get_by_role("tab", name="Comparison").click()
    expect(page.locator("#px-comparison")).to_contain_text("0.50 [0.25, 0.75]")


def try_in_compare(page: Page) -> None:
    """The adapter answers in Compare, and the gate says why."""
    button = page.locator("#px-try-it")
    expect(button).to_be_visible(timeout=30_000)
    button.click()
    expect(page.locator("#px-run")).to_be_visible(timeout=20_000)
    expect(page.locator("#px-adapter input")).to_have_value("Tiny adapter", timeout=20_000)
    page.fill("#px-question textarea", "What is 2 + 2?")
    unfold(page, "Sampling and model")
    set_number(page, "#px-tokens", 8)
    page.click("#px-run")
    expect(page.locator("#px-status .px-done")).to_be_visible(timeout=ANSWER_MS * 2)
    expect(page.locator(".px-prism .px-metrics")).to_contain_text(re.compile(r"gate 1\.00, open"))
    expect(page.locator(".px-neutral .px-metrics")).not_to_contain_text("gate")


def keep_and_delete(page: Page) -> None:
    """Rename, download and delete; deleting asks first."""
    open_tab(page, "Train")
    page.locator("#px-adapters").get_by_label("Tiny adapter").check()
    page.locator("#px-adapter-name :is(input, textarea)").fill("Better name")
    page.click("#px-adapter-rename")
    expect(page.locator("#px-adapters")).to_contain_text("Better name", timeout=20_000)
    with page.expect_download() as got:
        page.click("#px-adapter-download")
    assert got.value.suggested_filename == "Better-name.zip"
    names = zipfile.ZipFile(io.BytesIO(Path(got.value.path()).read_bytes())).namelist()
    assert {"adapter_model.safetensors", "gate.safetensors", "prism.json"} <= set(names)
    page.get_by_role("button", name="Push to the Hugging Face Hub").click()
    page.locator("#px-hub-token input").fill("hf_secret")
    page.click("#px-hub-push")
    expect(page.locator("#px-hub-status [role=alert]")).to_contain_text("Give a repository")
    expect(page.locator("#px-hub-token input")).to_have_value("")
    page.click("#px-adapter-delete")
    expect(page.locator("#px-shelf-confirm")).to_be_visible()
    page.locator("#px-shelf-confirm").get_by_role("button", name="Keep it").click()
    expect(page.locator("#px-adapters")).to_contain_text("Better name")
    page.click("#px-adapter-delete")
    page.locator("#px-shelf-confirm").get_by_role("button", name="Yes, delete it").click()
    expect(page.locator("#px-adapters")).not_to_contain_text("Better name", timeout=20_000)


def test_cancel_resume_and_delete_a_run(visit: Visit, data_home: Path) -> None:
    page = open_train(visit(color_scheme="dark"))
    choose_custom(page, "Long run", ("Mathematician", "Critic"), 60)
    run_id = start(page, "Long run")
    expect(page.locator(".px-step-now")).to_be_visible(timeout=RUN_MS)  # the worker has begun
    nothing_sticks_out(page)

    stranger = visit(f"?run={run_id}")  # who has the link may look, and nothing more
    expect(stranger.locator("#px-run-panel")).to_contain_text("Long run", timeout=30_000)
    for button in ("cancel", "resume", "delete"):
        expect(stranger.locator(f"#px-run-{button}")).to_be_hidden()

    cancel_at_once(page, "#px-run-cancel", data_home, run_id)
    expect(page.locator(".px-state")).to_have_text("Cancelled")
    page.click("#px-run-resume")
    expect(page.locator("#px-run-cancel")).to_be_visible()
    page.click("#px-run-cancel")
    expect(page.locator(".px-state")).to_have_text("Cancelled")
    page.click("#px-run-delete")
    expect(page.locator("#px-run-confirm")).to_be_visible()
    page.locator("#px-run-confirm").get_by_role("button", name="Keep it").click()
    expect(page.locator("#px-run-confirm")).to_be_hidden()
    page.click("#px-run-delete")
    page.locator("#px-run-confirm").get_by_role("button", name="Yes, delete it").click()
    expect(page.locator("#px-watch")).to_be_hidden(timeout=20_000)
