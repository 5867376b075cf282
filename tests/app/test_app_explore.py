"""The Study and Explore tabs without a browser: shelf, imports, items, tables, form and limits."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from support.synthetic_study import EVIL, make_study

from app.explore.bar import EMPTY, StudyBarHandlers, build_bar
from app.explore.figures_panel import FigureHandlers, Gallery, build_figures
from app.explore.form import FILTER_FIELDS, filter_choices, filters_of, options_of
from app.explore.items import PAGE, ItemFilter, item_page
from app.explore.points_panel import PointHandlers, build_points
from app.explore.views import (
    about_panel,
    csv_text,
    describe,
    items_panel,
    left_line,
    reading_panel,
    shown_table,
)
from app.services.settings import Settings
from app.services.study_shelf import MAX_OWN, OpenStudy, StudyImports, StudyShelf
from app.study.composer import build_study_form
from app.study.form import PUBLIC_LIMITS, check_size, study_of, study_of_yaml
from app.study.views import study_panel, study_plan_panel
from benchmarks.explore import write_study
from prism_core.analysis import Filters, Pick, make_grid, make_view
from prism_core.errors import InputError, NotFoundError
from prism_core.figures import FIGURES
from prism_core.personas.library import load_personas
from prism_core.storage import Store, pack
from prism_core.storage.schema import records
from prism_core.study.file import save_study
from prism_core.study.plan import plan_study
from prism_core.study.records import StudyEnd, StudyRecords
from prism_core.study.spec import StudySpec
from prism_core.study.table import Study

ME, OTHER = "a" * 32, "b" * 32
HOME = Settings(cache=Path("/none"))
PUBLIC = Settings(public=True, cache=Path("/none"))
PERSONAS = load_personas()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study(per_category=20, lengths=("long",), placements=("system",), seeds=(0, 1))


@pytest.fixture(scope="module")
def opened(study: Study) -> OpenStudy:
    return OpenStudy("id", "", "Planted", study, make_grid(study.rows))


@pytest.fixture
def file(study: Study, tmp_path: Path) -> Path:
    return save_study(study, tmp_path / "my.parquet")


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> StudyShelf:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    return StudyShelf(store, StudyImports(tmp_path / "imports", HOME), shipped)


# The shelf and imported files


def test_an_imported_file_is_its_owners_but_opens_by_link(shelf: StudyShelf, file: Path) -> None:
    found = shelf.imports.add(file, ME)
    assert [e.id for e in shelf.entries(ME)] == [found.id]
    assert shelf.entries(OTHER) == [] and shelf.entries(None) == []
    opened = shelf.open(found.id)
    assert opened.title == "Planted" and opened.grid.answers == len(opened.study.rows)
    with pytest.raises(NotFoundError):
        shelf.imports.delete(found.id, OTHER)
    shelf.imports.delete(found.id, ME)
    shelf.forget(found.id)
    with pytest.raises(NotFoundError):
        shelf.open(found.id)


@pytest.mark.parametrize(
    "study_id",
    ["", "nope", "../../etc/passwd", "import-../../x", "import-" + "g" * 32, "shipped-../x"],
)
def test_ids_never_reach_the_disk_unchecked(shelf: StudyShelf, study_id: str) -> None:
    with pytest.raises((NotFoundError, InputError)):
        shelf.open(study_id)


def test_what_is_no_study_is_refused(shelf: StudyShelf, tmp_path: Path, study: Study) -> None:
    text = tmp_path / "x.parquet"
    text.write_text("not a study")
    with pytest.raises(InputError, match="not a readable study"):
        shelf.imports.add(text, ME)
    pq.write_table(pa.table({"a": [1]}), text)
    with pytest.raises(InputError):
        shelf.imports.add(text, ME)
    empty = save_study(replace(study, rows=study.rows.iloc[:0]), tmp_path / "empty.parquet")
    with pytest.raises(InputError, match="holds no answer"):
        shelf.imports.add(empty, ME)
    assert shelf.imports.list() == []


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    big = tmp_path / "big.parquet"
    with big.open("wb") as out:
        out.truncate(PUBLIC.max_upload_bytes + 1)
    with pytest.raises(InputError, match="at most 8 MB"):
        StudyImports(tmp_path / "i", PUBLIC).add(big, ME)


def test_old_files_make_room(shelf: StudyShelf, file: Path) -> None:
    ids = [shelf.imports.add(file, ME).id for _ in range(MAX_OWN + 1)]
    left = [one.id for one in shelf.imports.list(ME)]
    assert len(left) == MAX_OWN and ids[-1] in left


def test_a_shipped_study_comes_first(shelf: StudyShelf, file: Path, tmp_path: Path) -> None:
    file.rename(tmp_path / "shipped" / "demo.parquet")
    assert [(e.id, e.title) for e in shelf.entries(None)] == [("shipped-demo", "Planted")]
    assert shelf.open("shipped-demo").title == "Planted"


def test_a_run_is_offered_once_it_has_begun(shelf: StudyShelf, store: Store, study: Study) -> None:
    run = store.create_run("study", "Mine", pack(study.spec), ME)
    assert shelf.entries(ME) == []
    store.claim_next("w")
    assert [e.id for e in shelf.entries(ME)] == [run.id]
    assert shelf.entries(OTHER) == []
    train = store.create_run("train", "T", {}, ME)
    with pytest.raises(NotFoundError):
        shelf.open(train.id)


def test_a_running_study_grows_when_it_is_opened_afresh(shelf: StudyShelf, store: Store) -> None:
    run_id = write_study(store, 160)  # two items in each of 79 cells
    first = shelf.open(run_id)
    assert first.grid.answers == 158 and not first.study.finished
    records = StudyRecords(store, run_id)
    more = replace(records.answers()[0], seed=7)
    records.keep_answers([more])
    assert shelf.open(run_id) is first  # a filter does not wait for the store
    assert shelf.open(run_id, fresh=True).grid.answers == 159
    assert "partial" in shelf.open(run_id).title


def test_a_finished_run_is_read_from_its_file(shelf: StudyShelf, store: Store) -> None:
    run_id = write_study(store, 160)
    store.claim_next("worker")
    StudyRecords(store, run_id).keep_end(StudyEnd(1.0, {}))
    store.finish(run_id, "done", worker_id="worker")
    first = shelf.open(run_id)
    assert list(store.get_run(run_id).path.glob("study-*.parquet"))
    with store._db.write() as connection:
        connection.execute(sa.delete(records).where(records.c.run_id == run_id))
    shelf.forget(run_id)
    again = shelf.open(run_id)
    pd.testing.assert_frame_equal(again.study.rows, first.study.rows)
    assert again.study.finished and again.title == "Benchmark"


# The tab's listeners


class Tab:
    """The tab's components and listeners."""

    def __init__(self, shelf: StudyShelf) -> None:
        with gr.Blocks():
            self.bar, self.figures, self.points = build_bar(HOME), build_figures(), build_points()
        self.choosing = StudyBarHandlers(shelf, self.bar, self.figures.filters)
        self.drawing = FigureHandlers(shelf, Gallery(), self.figures)
        self.reading = PointHandlers(self.drawing, self.points)


@pytest.fixture
def tab(shelf: StudyShelf) -> Tab:
    return Tab(shelf)


def asking(**query: str) -> Any:
    return SimpleNamespace(query_params=query)


def test_the_tab_opens_on_the_link_s_study(
    tab: Tab, shelf: StudyShelf, store: Store, file: Path
) -> None:
    def enter(chosen: str, **query: str) -> str:
        return tab.choosing.enter(chosen, ME, asking(**query))[tab.bar.study_id]

    mine, theirs = shelf.imports.add(file, ME).id, shelf.imports.add(file, OTHER).id
    empty = store.create_run("study", "Not begun", pack(StudySpec()), OTHER)
    assert enter("") == mine
    assert enter("", study=theirs) == theirs
    assert enter(mine, study=theirs) == mine  # it was chosen
    assert enter("", study=empty.id) == mine  # nothing to see yet
    lost = tab.choosing.open(enter("", study="gone"), ME)
    assert "gone" in lost[tab.bar.status] and lost[tab.bar.about] == EMPTY


def test_a_study_shows_what_may_be_done_with_it(tab: Tab, shelf: StudyShelf, file: Path) -> None:
    bar, mine = tab.bar, shelf.imports.add(file, ME).id
    for visitor, is_mine in ((ME, True), (OTHER, False), (None, False)):
        shown = tab.choosing.open(mine, visitor)
        assert bar.status not in shown  # what was said on the way here stays
        expected = [True, True, True, False, is_mine]  # refresh is for studies that grow
        assert [shown[button].visible for button in bar.tools] == expected
        assert set(tab.figures.filters.values()) <= set(shown)
    listed = tab.choosing.choices(mine, OTHER)
    assert listed[bar.study].choices == [("Planted (by link)", mine)]
    assert listed[bar.other].choices == [("None", "")]


def test_explore_without_a_study_explains_itself(tab: Tab) -> None:
    assert tab.choosing.enter("", ME, asking())[tab.bar.study_id] == ""
    shown = tab.choosing.open("", ME)
    assert shown[tab.bar.about] == EMPTY and "Study tab" in EMPTY
    assert not any(shown[button].visible for button in tab.bar.tools)
    drawn = tab.drawing.draw("", "", "tradeoff", "accuracy", False, False, *[[]] * 7)
    assert drawn == {tab.figures.box: drawn[tab.figures.box]}
    assert drawn[tab.figures.box].visible is False


def test_draw_one_study_and_two(tab: Tab, shelf: StudyShelf, file: Path) -> None:
    first, second = shelf.imports.add(file, ME).id, shelf.imports.add(file, ME).id
    figures = tab.figures
    values = ("lift", "accuracy", False, False, *[[]] * 7)
    alone = tab.drawing.draw(first, "", *values)
    assert set(alone) == set(figures.outputs)
    assert alone[figures.second.box].visible is False and alone[figures.first.plot].data
    both = tab.drawing.draw(first, second, *values)
    assert both[figures.second.box].visible is True and both[figures.second.plot].data
    assert both[figures.first.plot].to_json() == both[figures.second.plot].to_json()
    numbers = tab.drawing.numbers(first, second, *values)[figures.payload]
    assert numbers.count("persona,category") == 2
    wrong = tab.drawing.draw("nope", "", *values)
    assert "alert" in wrong[figures.left]


def test_a_filter_reaches_every_figure(opened: OpenStudy) -> None:
    gallery = Gallery()
    filters = Filters(categories=("stem",), personas=("stem",))
    for name in FIGURES:
        found = gallery.get(opened, name, filters, options_of("accuracy", False, False, 0.05))
        shown = set(found.data.get("category", pd.Series(dtype=str)))
        assert shown <= {"STEM", "All categories"}, name
        again = gallery.get(opened, name, filters, options_of("accuracy", False, False, 0.05))
        assert again is found


def test_a_sorted_table_still_finds_its_row(tab: Tab, shelf: StudyShelf, file: Path) -> None:
    study_id = shelf.imports.add(file, ME).id
    values = ("lift", "accuracy", False, False, *[[]] * 7)
    found = tab.drawing.result(study_id, *values)
    shown = shown_table(found.data).astype(str)
    event: Any = SimpleNamespace(index=[0, 0], row_value=shown.iloc[5].tolist())
    points = tab.points
    chosen = tab.reading.row(event, study_id, *values)
    assert chosen == {points.pick: found.picks[5], points.second: False, points.page: 1}


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (-3, "Page is '-3'; it must be a whole number from 1."),
        (1.5, "Page is '1.5'"),
        (None, "Page is empty"),
        (1e300, "Page is '1e+300'"),
        (10**400, "Page is '1000"),
        (99, "answer"),
        (1, "answer"),
    ],
)
def test_a_page_of_answers_that_there_cannot_be(
    tab: Tab, shelf: StudyShelf, file: Path, page: object, said: str
) -> None:
    study_id = shelf.imports.add(file, ME).id
    pick = tab.drawing.result(study_id, "lift", "accuracy", False, False, *[[]] * 7).picks[0]
    shown = tab.reading.show(study_id, "", pick, False, "all", "", False, page, *[[]] * 7)
    panel = shown[tab.points.panel]
    assert shown[tab.points.box].visible is True
    assert said in html.unescape(panel)
    assert ("px-pair" in panel) == (said == "answer")


def test_values_from_the_page_may_be_anything(opened: OpenStudy) -> None:
    filters = filters_of(["x", None, [1, "math"], {}, ["user"], 3, []])
    assert filters == Filters(personas=("1", "math"), placements=("user",))
    assert options_of("evil", "yes", 0, 0.1).score == "accuracy"
    offered = filter_choices(opened.grid)
    assert set(offered) == set(FILTER_FIELDS)
    assert ("Safety monitor", "safety_monitor") in offered["personas"]


# Items


def page_of(opened: OpenStudy, pick: Pick, number: int = 1, **wanted: Any) -> Any:
    return item_page(opened, make_view(opened.grid), pick, ItemFilter(**wanted), number)


def test_flips_come_first_and_are_counted(opened: OpenStudy) -> None:
    found = page_of(opened, Pick(arm="persona", persona="math", category="humanities"))
    # A long text in the system turn loses the digits 5 and 6 of 0-6: 4 of 20 items.
    assert (found.lost, found.gained, found.same, found.total) == (4, 0, 16, 20)
    assert [e.change for e in found.entries[:5]] == ["lost"] * 4 + ["same"]
    lost = found.entries[0]
    assert lost.neutral is not None
    assert (lost.neutral.text, lost.arm.text, lost.right) == ("beta", "gamma", 1)
    swapped = page_of(opened, Pick(arm="persona", persona="math", category="other"))
    assert (swapped.lost, swapped.gained) == (2, 2)
    assert [e.change for e in swapped.entries[:4]] == ["lost", "lost", "gained", "gained"]
    only = page_of(opened, Pick(arm="persona", persona="math", category="other"), which="gained")
    assert only.total == 2


def test_repeats_collapse_into_one_entry(opened: OpenStudy) -> None:
    found = page_of(opened, Pick(arm="persona", persona="math", category="writing"))
    assert found.total == 20
    answer = found.entries[0].arm
    assert (answer.repeats, answer.different) == (2, 2) and len(answer.others) == 1
    panel = items_panel(found, "x")
    assert "2 repeats, 2 different" in panel and "1 other answer of its repeats" in panel
    same = items_panel(page_of(opened, Pick(arm="persona", category="stem")), "x")
    assert "2 repeats, always the same" in same


def test_search_and_only_different(opened: OpenStudy) -> None:
    pick = Pick(arm="persona", persona="math")
    asked = page_of(opened, pick, text="QUESTION 7 about stem")
    assert [e.item for e in asked.entries] == ["stem-007"]
    answered = page_of(opened, pick, text="lively answer to math-003")
    assert [e.item for e in answered.entries] == ["math-003"]
    assert page_of(opened, pick, text="nowhere to be found").total == 0
    control = Pick(arm="persona", persona="neutral_text", category="stem")
    assert page_of(opened, control).total == 20
    assert page_of(opened, control, only_different=True).total == 0


def test_pages_never_run_out(opened: OpenStudy) -> None:
    pick = Pick(arm="persona", category="stem")
    last = page_of(opened, pick, 10_000)
    total = 5 * 20  # four personas and the control
    assert last.total == total and last.first == (total - 1) // PAGE * PAGE
    assert len(last.entries) == total - last.first


def test_own_experts_and_neutral_picks(opened: OpenStudy) -> None:
    own = page_of(opened, Pick(arm="persona", category="stem", own="1"))
    assert {e.arm.title for e in own.entries} == {"stem/long/system"} and own.gained == 2
    neutral = page_of(opened, Pick(arm="neutral", category="stem"))
    assert neutral.total == 20 and neutral.entries[0].neutral is None


def test_answers_never_become_markup(opened: OpenStudy) -> None:
    found = page_of(opened, Pick(arm="persona", persona="math", category="writing"))
    assert EVIL in found.entries[0].arm.text
    panel = items_panel(found, EVIL)
    assert "<script" not in panel and "<b>bold" not in panel and "{x}" not in panel
    assert "<del>" in panel and "<ins>" in panel  # what changed is marked


def test_a_pick_in_words() -> None:
    pick = Pick(arm="persona", persona="math", category="stem", length="long", placement="user")
    assert describe(pick) == "STEM · Math · long text · user turn"
    assert describe(Pick(arm="adapter", cell="adapter:demo@0.5")) == (
        "All categories · adapter:demo@0.5"
    )


# Tables and panels


def test_numbers_are_safe_in_a_spreadsheet() -> None:
    data = pd.DataFrame({"=cmd": ["+1", "ok"], "x": [-0.5, float("nan")]})
    assert csv_text(data).splitlines() == ["'=cmd,x", "'+1,-0.5", "ok,"]
    assert shown_table(data)["x"].tolist() == ["-0.500", ""]


def test_a_partial_study_says_so(opened: OpenStudy, study: Study) -> None:
    partial = replace(opened, study=replace(study, finished=False, notes=(EVIL,)))
    panel = about_panel(partial)
    assert "not finished" in panel and "<script" not in panel
    assert "not finished" not in about_panel(opened)
    assert "Showing all" in left_line(make_view(opened.grid))
    assert "Showing 160 of" in left_line(
        make_view(opened.grid, Filters(arms=("neutral",), tasks=("knowledge",)))
    )
    assert "<script" not in reading_panel(EVIL, EVIL)


def test_a_runs_panel(store: Store, study: Study) -> None:
    run = store.create_run("study", "A <b>study</b>", pack(study.spec), ME)
    panel = study_panel(run, 3, 0)
    assert "Place 3 in the queue" in panel and "<b>study" not in panel
    failed = replace(run, status="failed", message="No model.")
    assert "No model." in study_panel(failed, None, 7) and "7 answers kept" in study_panel(
        failed, None, 7
    )


# The form


def form(settings: Settings = HOME, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "name": "Mine",
        "models": ["embedded"],
        "tasks": ["knowledge"],
        "personas": ["math"],
        "lengths": ["long"],
        "placements": ["system"],
        "adapters": [],
        "threshold": "",
        "sweep": False,
        "n_per_category": 5,
        "repeats": 1,
        "temperature": 0.0,
        "judge": "",
        "judgements": ["pairwise"],
        "max_new_tokens": 16,
        "scoring": "auto",
        "delta": 0.05,
        "item_seed": 0,
        "executor": "local",
    }
    with gr.Blocks():
        assert set(values) == set(build_study_form(settings, PERSONAS, []).by_name)
    return study_of({**values, **changes}, PERSONAS, PERSONAS, settings)


def test_the_form_makes_a_spec() -> None:
    spec = form(
        adapters=["shipped-demo"],
        threshold="0.4",
        sweep=True,
        repeats=2,
        temperature=0.7,
        judge="self",
        judgements=["pairwise", "rubric"],
    )
    assert spec.adapters[0].reference == "demo" and spec.adapters[0].threshold == 0.4
    assert spec.seeds == (0, 1) and spec.judges == ("self",)
    assert form(adapters=["shipped-demo"]).adapters[0].threshold is None
    assert form(adapters=["shipped-demo"], threshold=0.0).adapters[0].threshold is None
    assert form(adapters=["shipped-demo"], threshold="0").adapters[0].threshold == 0.0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": ""}, "name '' is not allowed"),
        ({"tasks": []}, "tasks is empty"),
        ({"personas": []}, "nothing to compare with neutral"),
        ({"lengths": []}, "at least one length"),
        ({"n_per_category": None}, "Items of each category is empty"),
        ({"n_per_category": 2.5}, "whole number from 1"),
        ({"n_per_category": -3}, "category is '-3'; it must be a whole number from 1 to 5,000"),
        ({"n_per_category": 10**400}, "category is '1000"),
        ({"n_per_category": math.nan}, "category is 'nan'"),
        ({"repeats": 21, "temperature": 1.0}, "Repeats is '21'; .* from 1 to 20"),
        ({"temperature": -0.5}, "Temperature is '-0.5'; it must be a number from 0 to 5"),
        ({"temperature": 1e300}, "Temperature is '1e\\+300'"),
        ({"max_new_tokens": 4097}, "Longest answer is '4097'; .* from 1 to 4,096"),
        ({"item_seed": -1}, "Seed of the items is '-1'; .* from 0 to 2,147,483,647"),
        ({"delta": None}, "Margin is empty; it must be a number from 0.001 to 0.5"),
        ({"delta": 0.51}, "Margin is '0.51'"),
        ({"threshold": "high"}, "Threshold is 'high'"),
        ({"threshold": "2", "adapters": ["shipped-demo"]}, "must be a number from 0 to 1"),
        ({"repeats": 3}, "repeats at temperature 0"),
        ({"delta": 0}, "Margin is '0'"),
        ({"executor": "cloud"}, "must be one of local, ray"),
    ],
)
def test_what_cannot_be_run_is_said(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        form(**changes)


def test_a_public_copy_keeps_its_limits() -> None:
    for changes, sentence in (
        ({"models": ["gpt2"]}, "cannot be used here"),
        ({"judge": "remote:x"}, "choose 'self'"),
        ({"executor": "ray"}, "choose 'local'"),
    ):
        assert form(HOME, **changes)
        with pytest.raises(InputError, match=sentence):
            form(PUBLIC, **changes)
    large = plan_study(
        form(
            PUBLIC,
            lengths=["min", "short", "long"],
            n_per_category=60,
            personas=["math", "writing", "coding", "stem", "critic", "helpful"],
            placements=["system", "user"],
        )
    )
    assert large.cells == 37 > PUBLIC_LIMITS.cells
    with pytest.raises(InputError, match="37 cells; at most 30"):
        check_size(large, PUBLIC)
    check_size(large, HOME)
    with pytest.raises(InputError, match="cannot be used here"):
        study_of_yaml("models: [gpt2]\npersonas: [math]", PUBLIC)


def test_a_spec_as_yaml() -> None:
    spec = study_of_yaml("name: Y\ntasks: [knowledge]\npersonas: [math]\n", HOME)
    assert spec.name == "Y" and spec.personas == ("math",)
    for text, sentence in (("", "Paste a spec"), ("a: [", "spec|YAML"), ("evil: 1", "no field")):
        with pytest.raises(InputError, match=sentence):
            study_of_yaml(text, HOME)


def test_the_plan_says_what_it_can_see() -> None:
    panel = study_plan_panel(plan_study(form()))
    assert "40" in panel and "not measured" in panel and "What it can see" in panel


def test_a_whole_study_goes_through_csv(study: Study) -> None:
    text = csv_text(study.rows)
    assert len(pd.read_csv(io.StringIO(text))) == len(study.rows)
