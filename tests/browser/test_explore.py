"""The Explore tab as a visitor meets it: all figures in a real Chromium, clicks, filters, files."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page, expect
from support.browser import open_tab
from support.synthetic_study import EVIL, make_study

from prism_core.figures import FIGURES, FigureOptions
from prism_core.study.file import load_study, save_study
from prism_core.study.table import Study

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
Visit = Callable[..., Page]
PLOT = "#px-first-plot .js-plotly-plot"
WAIT = 60_000


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study(per_category=20, seeds=(0, 1))


@pytest.fixture(scope="module")
def file(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_study(study, tmp_path_factory.mktemp("study") / "planted.parquet")


def bring(page: Page, file: Path) -> Page:
    """Open the tab and a study file in it."""
    expect.set_options(timeout=WAIT)  # a busy machine
    open_tab(page, "Explore")
    expect(page.locator("#px-study input")).not_to_have_value("")  # the tab has asked what there is
    with page.expect_file_chooser() as chooser:
        page.click("#px-study-upload")
    chooser.value.set_files(file)
    expect(page.locator("#px-study-status")).to_contain_text("'Planted' is open")
    expect(page.locator(f"{PLOT} .main-svg").first).to_be_visible(timeout=WAIT)
    return page


def choose(page: Page, name: str) -> None:
    """Choose a figure and wait until it is drawn."""
    title = FIGURES[name].title
    page.locator("#px-figure").get_by_text(title, exact=True).click()
    expect(page.locator("#px-figure-title h3")).to_have_text(title)


def click_heatmap(page: Page, x: int, y: int) -> None:
    """Click a cell of figure 4 as a mouse does."""
    box = page.evaluate(
        """([selector, x, y]) => {
          const plot = document.querySelector(selector), { xaxis, yaxis } = plot._fullLayout;
          plot.scrollIntoView({ block: 'center' });
          const box = plot.getBoundingClientRect();
          return [box.left + xaxis._offset + xaxis.l2p(x), box.top + yaxis._offset + yaxis.l2p(y)];
        }""",
        [PLOT, x, y],
    )
    page.mouse.move(*box)
    page.wait_for_timeout(300)
    page.mouse.click(*box)


def test_every_figure_renders(visit: Visit, file: Path, study: Study) -> None:
    page = bring(visit(), file)
    page.locator("#px-overlay input").check()  # the paper's own numbers, labelled as such
    expect(page.locator(f"{PLOT} .legend")).to_contain_text("reported")
    page.locator("#px-overlay input").uncheck()
    expect(page.locator(f"{PLOT} .legend")).not_to_contain_text("reported")
    for name, kind in FIGURES.items():
        choose(page, name)
        wanted = kind(study, FigureOptions(delta=study.spec.delta))
        expect(page.locator("#px-first-reading")).to_contain_text(wanted.reading)
        page.wait_for_function(
            "([s, n]) => document.querySelector(s)?.data?.length === n",
            arg=[PLOT, len(wanted.figure.data)],
            timeout=WAIT,
        )
        types = page.evaluate("(s) => document.querySelector(s).data.map((t) => t.type)", PLOT)
        assert types == [t.type for t in wanted.figure.data]
        drawn = page.evaluate(
            """(s) => {
              const has = (q) => document.querySelectorAll(`${s} ${q}`).length;
              return { scatter: has('.scatterlayer .trace'), bar: has('.barlayer .trace'),
                       heatmap: has('.heatmaplayer .hm') };
            }""",
            PLOT,
        )
        assert types or wanted.is_empty, name
        bars = sum(len(t.x) for t in wanted.figure.data if t.type == "bar")
        shown = page.evaluate(
            """(s) => [...document.querySelectorAll(`${s} .barlayer .point path`)]
                .filter((bar) => bar.getBBox().width > 1).length""",
            PLOT,
        )
        assert shown == bars, name
        for kind_of_trace in set(types):
            assert drawn[kind_of_trace] > 0, (name, drawn)


def test_a_click_shows_the_answers_behind_it(visit: Visit, file: Path) -> None:
    page = bring(visit(), file)
    choose(page, "lift")
    page.wait_for_function("(s) => document.querySelector(s).data[0].type === 'heatmap'", arg=PLOT)
    click_heatmap(page, 1, 0)  # humanities, math
    panel = page.locator("#px-items-panel")
    # 20 items in six cells; harm 1, 1, 2 and 2, 2, 3 digits, each digit twice among 20 items.
    expect(panel).to_contain_text("120 answered items, 22 lost, 0 gained")
    expect(panel.locator(".px-pair").first).to_contain_text("Lost")
    expect(panel.locator(".px-pair").first).to_contain_text("2 repeats, always the same")

    page.locator("#px-which").get_by_label("Gained").check()
    expect(panel).to_contain_text("None fits")
    page.locator("#px-which").get_by_label("Flips").check()
    expect(panel).to_contain_text("1 to 8 of 22")
    page.fill("#px-items-search :is(input, textarea)", "Question 6 about")
    expect(panel).to_contain_text("of 6")

    choose(page, "lift")
    page.locator("#px-score").get_by_label("Alignment").check()
    expect(page.locator("#px-first-reading")).to_contain_text("12 of 16 cells")


def test_the_keyboard_reaches_the_answers_too_and_their_text_stays_text(
    visit: Visit, file: Path
) -> None:
    page = bring(visit(), file)  # `visit` fails on any dialog and script error
    choose(page, "lift")
    expect(page.locator("#px-first-reading")).to_contain_text("of 16 cells")
    page.get_by_role("button", name="The numbers").click()
    rows = page.locator("#px-figure-data [role=row]")
    rows.filter(has_text="Humanities").first.locator("[role=gridcell]").nth(1).click()
    expect(page.locator("#px-items-panel")).to_contain_text("answered items")
    expect(page.locator("#px-items-panel")).to_contain_text("Humanities · Math")

    page.locator("#px-score").get_by_label("Alignment").check()
    page.wait_for_function("(s) => document.querySelector(s).data[0].x.length === 4", arg=PLOT)
    click_heatmap(page, 0, 0)
    panel = page.locator("#px-items-panel")
    expect(panel).to_contain_text(EVIL)
    assert panel.locator("script, .px-text b").count() == 0
    expect(panel.locator("ins").first).to_be_visible()


def test_filters_hold_for_all_figures(visit: Visit, file: Path, study: Study) -> None:
    page = bring(visit(), file)
    page.get_by_role("button", name="Filters").click()
    page.click("#px-filter-personas input")
    page.get_by_role("option", name="STEM").click()
    page.keyboard.press("Escape")
    left = page.locator("#px-left")
    # neutral, six cells of the expert and two of the adapter, with two repeats of 160 items
    expect(left).to_contain_text(f"Showing {9 * 320:,} of {len(study.rows):,}")
    expect(page.locator("#px-first-reading")).to_contain_text("STEM: accuracy")
    choose(page, "lottery")
    expect(page.locator("#px-first-reading")).to_contain_text("only one persona", ignore_case=True)
    page.click("#px-filters-clear")
    expect(left).to_contain_text("Showing all")
    expect(page.locator("#px-first-reading")).to_contain_text("4 of 4 personas")


def test_two_studies_and_their_files(
    visit: Visit, file: Path, study: Study, tmp_path: Path
) -> None:
    page = bring(visit(), file)
    bring(page, file)
    page.click("#px-other input")
    page.get_by_role("option", name="Planted").last.click()
    expect(page.locator("#px-second-plot .js-plotly-plot .main-svg").first).to_be_visible()
    with page.expect_download(timeout=WAIT) as download:
        page.click("#px-study-parquet")
    target = tmp_path / "again.parquet"
    download.value.save_as(target)
    assert download.value.suggested_filename == "Planted.parquet"
    pd.testing.assert_frame_equal(load_study(target).rows, study.rows)
    page.get_by_role("button", name="The numbers").click()
    with page.expect_download(timeout=WAIT) as numbers:
        page.click("#px-figure-save")
    text = Path(numbers.value.path()).read_text(encoding="utf-8")
    assert text.startswith("arm,category,") and "All categories" in text


def test_a_link_finds_the_study_and_a_deleted_file_is_gone(visit: Visit, file: Path) -> None:
    page = bring(visit(), file)
    study_id = page.evaluate("document.querySelector('#px-study-id :is(input, textarea)').value")
    guest = visit(f"?study={study_id}")
    expect(guest.get_by_role("tab", name="Explore", exact=True)).to_have_attribute(
        "aria-selected", "true"
    )
    expect(guest.locator(f"{PLOT} .main-svg").first).to_be_visible(timeout=WAIT)
    expect(guest.locator("#px-study-delete")).to_be_hidden()
    page.click("#px-study-delete")
    page.get_by_role("button", name="Yes, delete it").locator("visible=true").click()
    expect(page.locator("#px-study-status")).to_contain_text("The file is deleted")
    late = visit(f"?study={study_id}")
    expect(late.locator("#px-study-status")).to_contain_text("no imported study")


def test_what_is_no_study_is_said(visit: Visit, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.parquet"
    wrong.write_text("x")
    page = visit()
    open_tab(page, "Explore")
    with page.expect_file_chooser() as chooser:
        page.click("#px-study-upload")
    chooser.value.set_files(wrong)
    expect(page.locator("#px-study-status [role=alert]")).to_contain_text("not a readable study")


def test_nothing_sticks_out(visit: Visit, file: Path) -> None:
    page = bring(visit("?__theme=dark", viewport={"width": 390, "height": 900}), file)
    for width, name in itertools.product((390, 1400), ("tradeoff", "lift", "sweep")):
        page.set_viewport_size({"width": width, "height": 900})
        choose(page, name)
        page.wait_for_timeout(700)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        plot = page.locator(PLOT).bounding_box()
        assert plot is not None and plot["x"] >= 0 and plot["x"] + plot["width"] <= width
