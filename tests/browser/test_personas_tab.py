"""The Personas tab as a visitor meets it: real files, real browser storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.browser import open_tab

from prism_core.personas.library import load_personas, parse_persona, parse_personas

pytestmark = pytest.mark.browser
Visit = Callable[..., Page]

BARD = "name: bard\ntitle: Bard\nkind: behaviour\ntexts:\n  min: You are a bard.\n"
STATUS = "#px-personas-status"


def open_personas(page: Page) -> Page:
    open_tab(page, "Personas")
    expect(page.locator("#px-sheet h2")).to_be_visible()
    return page


def pick(page: Page, title: str) -> None:
    """Choose in the Personas tab's dropdown, as a person does."""
    field = page.locator("#px-pick input")
    field.click()
    field.fill(title)
    page.get_by_role("option", name=title).first.click()
    expect(page.locator("#px-sheet h2")).to_have_text(title)


def download(page: Page, selector: str) -> tuple[str, str]:
    with page.expect_download() as got:
        page.click(selector)
    return got.value.suggested_filename, Path(got.value.path()).read_text(encoding="utf-8")


def upload(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.click("#px-import")
    chooser.value.set_files(path)


def test_every_persona_can_be_read_with_its_token_counts(visit: Visit) -> None:
    page = open_personas(visit())
    library = load_personas()
    for name in ("math", "critic", "neutral_text"):
        persona = library[name]
        pick(page, persona.title)
        for text in persona.texts.values():
            expect(page.locator("#px-sheet")).to_contain_text(text[:40])
    sizes = page.locator("#px-sheet small")
    expect(sizes.last).to_contain_text("token", timeout=60_000)
    counts = [int(text.split()[0]) for text in sizes.all_inner_texts()]
    # within 20 % of 5, 75 and 150
    assert [4 <= counts[0] <= 6, 60 <= counts[1] <= 90, 120 <= counts[2] <= 180] == [True] * 3


def test_copy_edit_use_reload_export_import_delete(visit: Visit, tmp_path: Path) -> None:
    page = open_personas(visit())
    pick(page, load_personas()["math"].title)
    expect(page.locator("#px-delete")).to_be_hidden()
    page.click("#px-copy")
    expect(page.locator("#px-edit-name input, #px-edit-name textarea")).to_have_value("math_copy")
    page.locator("#px-edit-title input, #px-edit-title textarea").fill("Abacus fan")
    page.locator("#px-edit-min textarea, #px-edit-min input").fill("You love abacuses.")
    expect(page.locator("#px-edit-counts")).to_contain_text("Minimal:")
    page.click("#px-edit-save")
    expect(page.locator(STATUS)).to_contain_text("'Abacus fan' is saved in this browser")
    expect(page.locator("#px-sheet h2")).to_have_text("Abacus fan")

    open_tab(page, "Compare")
    page.locator("#px-persona input").click()
    expect(page.get_by_role("option", name="Abacus fan (yours)")).to_be_visible()

    page.reload()
    page.wait_for_selector("#px-run")
    open_personas(page)
    pick(page, "Abacus fan")
    expect(page.locator("#px-sheet")).to_contain_text("yours")
    name, text = download(page, "#px-export-persona")
    assert name == "math_copy.yaml"
    assert parse_persona(text).texts["min"] == "You love abacuses."

    page.click("#px-delete")
    page.click("#px-confirm-keep")
    expect(page.locator("#px-confirm")).to_be_hidden()
    page.click("#px-delete")
    page.click("#px-confirm-delete")
    expect(page.locator(STATUS)).to_contain_text("'Abacus fan' is deleted")
    expect(page.locator("#px-export-own")).to_be_hidden()

    file = tmp_path / name
    file.write_text(text + "---\n" + BARD, encoding="utf-8")
    upload(page, file)
    expect(page.locator(STATUS)).to_contain_text("Added: math_copy, bard")
    expect(page.locator("#px-sheet h2")).to_have_text("Abacus fan")
    name, text = download(page, "#px-export-own")
    assert [p.title for p in parse_personas(text)] == ["Abacus fan", "Bard"]


def test_mistakes_are_told_in_a_sentence_on_a_phone_too(visit: Visit, tmp_path: Path) -> None:
    page = open_personas(visit(viewport={"width": 390, "height": 844}))
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text("a: &a [x, x]\nb: [*a, *a]\n")
    upload(page, bomb)
    told = "Nothing was imported. Line 1 uses the YAML anchor"
    expect(page.locator(STATUS)).to_contain_text(told)
    page.click("#px-new")
    expect(page.locator("#px-editor")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("#px-edit-save")
    expect(page.locator("#px-edit-status")).to_contain_text("The title is empty")
    evil = "<img src=x onerror=alert(1)>"
    page.locator("#px-edit-title input, #px-edit-title textarea").fill(evil)
    page.locator("#px-edit-name input, #px-edit-name textarea").fill("math")
    page.locator("#px-edit-min textarea, #px-edit-min input").fill("You are <b>bold</b>.")
    page.click("#px-edit-save")
    expect(page.locator("#px-edit-status")).to_contain_text("'math' belongs to a persona")
    page.locator("#px-edit-name input, #px-edit-name textarea").fill("bold")
    page.click("#px-edit-save")
    expect(page.locator("#px-sheet h2")).to_have_text(evil)
    assert page.locator("#px-sheet img, #px-sheet b").count() == 0


def test_a_visitor_does_not_see_anothers_personas(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "bard.yaml"
    file.write_text(BARD)
    first, second = open_personas(visit()), open_personas(visit())
    upload(first, file)
    expect(first.locator(STATUS)).to_contain_text("Added: bard")
    second.reload()
    second.wait_for_selector("#px-run")
    open_personas(second)
    second.locator("#px-pick input").click()
    expect(second.get_by_role("option", name="Mathematician").first).to_be_visible()
    assert second.get_by_role("option", name="Bard").count() == 0
