"""The Train tab without a browser: form, limits, estimate, shelf, story and what is drawn of it."""

from __future__ import annotations

import html
import io
import json
import math
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from support.gated_parts import judged_pairs
from support.train_records import EVIL, ME, comparison, finish, gate_report, make_run

from app.common.run_views import duration
from app.common.run_watch import find_run
from app.services.adapter_shelf import AdapterShelf
from app.services.downloads import KEEP_SECONDS
from app.services.settings import Settings
from app.services.visitor import need_visitor, new_visitor, read_visitor
from app.train.composer import fill
from app.train.form import FORM_FIELDS, PUBLIC_MOST, preset_values, spec_of
from app.train.results_panel import ResultHandlers, build_results
from app.train.story import PairFilter, read_findings, read_story
from app.train.views.charts import (
    calibration_figure,
    distill_figure,
    gate_curve_figure,
    pr_figure,
    roc_figure,
    routes_figure,
)
from app.train.views.progress import plan_panel, run_panel, step_states
from app.train.views.results import (
    adapter_sheet,
    comparison_frame,
    judge_panel,
    pairs_panel,
    threshold_panel,
)
from app.train.watch import TrainWatcher, build_watch
from prism_core.errors import InputError, NotFoundError, PrismError
from prism_core.models.local import LocalModel
from prism_core.personas.library import load_personas
from prism_core.prism.bundle_files import BaseIdentity, BundleInfo, read_info, write_info
from prism_core.prism.distillation.report import CurvePoint
from prism_core.prism.forecast import STAGES, Span, SpeedProbe, forecast_training, span_text
from prism_core.prism.spec import TrainSpec
from prism_core.prism.speed_probe import probe_speed
from prism_core.storage import Store, pack
from prism_core.types import Estimate

PERSONAS = load_personas()
OTHER = "b" * 32
HOME, PUBLIC = Settings(cache=Path("/none")), Settings(public=True, cache=Path("/none"))
PROBE = SpeedProbe(
    model="tiny",
    fingerprint="f",
    rows=64,
    decode_rate=400.0,
    read_rate=500.0,
    train_rate=200.0,
    resident_bytes=10**9,
    cell_bytes=50_000,
    train_bytes=10**6,
    seconds=9.0,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(home=tmp_path / "home") as opened:
        yield opened


def values_of(spec: TrainSpec, **changes: object) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in FORM_FIELDS} | changes


def form(settings: Settings = HOME, chosen: tuple[str, ...] = ("math",), **changes: object) -> Any:
    start = values_of(preset_values("custom", "embedded", settings), **changes)
    return spec_of(start, chosen, PERSONAS, PERSONAS, settings)


def put_bundle(folder: Path, name: str = "Mine") -> None:
    folder.mkdir(parents=True)
    base = BaseIdentity("embedded", "SmolLM2", "r", (2, 8, 16), (0.1,))
    metrics = {"gate ROC-AUC": Estimate(0.9, 0.8, 0.95, 40)}
    write_info(folder, BundleInfo(name, base, metrics=metrics, notes=(EVIL,)))
    for file in ("adapter_config.json", "adapter_model.safetensors", "gate.safetensors"):
        (folder / file).write_bytes(b"{}")
    (folder / "work").mkdir()
    (folder / "work" / "secret.txt").write_text("not to be packed")


# The form


def test_a_visitor_is_an_unguessable_id_or_nobody() -> None:
    mine = new_visitor()
    assert read_visitor(mine) == need_visitor(mine) == mine
    assert mine != new_visitor()
    for forged in ("", None, 7, ["a"], "A" * 32, "a" * 31, "../" + "a" * 29, "a" * 32 + "\n"):
        assert read_visitor(forged) is None
    with pytest.raises(InputError, match="reload"):
        need_visitor("")


def test_the_form_and_the_presets_go_together() -> None:
    for preset in ("demo", "quick", "full", "custom"):
        values = fill(preset, "embedded", HOME)
        spec = spec_of(values, values["personas"], PERSONAS, PERSONAS, HOME)
        assert spec == preset_values(preset, "embedded", HOME)


def test_the_visitors_own_personas_travel_as_yaml() -> None:
    mine = replace(PERSONAS["math"], name="my_math", title="My math")
    values = values_of(preset_values("custom", "embedded", HOME))
    everyone = {**PERSONAS, "my_math": mine}
    spec = spec_of(values, ["critic", "my_math", "critic"], everyone, PERSONAS, HOME)
    assert spec.personas == ("critic",)
    assert "title: My math" in spec.own_personas[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"queries_per_persona": 2.5}, "Queries a persona is '2.5'; it must be a whole number"),
        ({"queries_per_persona": None}, "Queries a persona is empty"),
        ({"queries_per_persona": 501}, "501"),
        ({"learning_rate": float("nan")}, "Learning rate is 'nan'"),
        ({"learning_rate": 1}, "Learning rate is '1'; it must be a number from 1e-06 to 0.01"),
        ({"rank": True}, "Rank is 'True'"),
        ({"epochs": "ten"}, "Epochs is 'ten'"),
        ({"name": "  "}, "name '' is not allowed"),
        ({"name": "x" * 81}, "1 to 80"),
        ({"name": "a\u202eb"}, "visible"),
        ({"model": ""}, "No model"),
        ({"judge": "verifiable"}, "preset 'demo'"),
        ({"judge": "remote"}, "remote_model"),
        ({"preset": "huge"}, "'huge'"),
        ({"length": "epic"}, "'epic'"),
        ({"feature": "<b>"}, "'<b>'"),
    ],
)
def test_a_bad_value_is_quoted(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        form(**changes)


def test_bad_personas_are_refused() -> None:
    with pytest.raises(InputError, match="No persona is chosen"):
        form(chosen=())
    with pytest.raises(NotFoundError, match="no persona 'nobody'"):
        form(chosen=("nobody",))
    with pytest.raises(InputError, match="is a control"):
        form(chosen=("irrelevant",))


def test_a_public_copy_runs_small_things_only() -> None:
    spec = preset_values("full", "embedded", PUBLIC)
    assert (spec.queries_per_persona, spec.answer_tokens, spec.epochs) == (8, 128, 5)
    assert form(PUBLIC).rank == PUBLIC_MOST["rank"]
    for changes in ({"answer_tokens": 129}, {"rounds": 2}, {"rank": 17}):
        with pytest.raises(InputError, match="on this public copy"):
            form(PUBLIC, **changes)
        form(HOME, **changes)
    with pytest.raises(InputError, match="Allowed: embedded"):
        form(PUBLIC, model="/etc")
    with pytest.raises(InputError, match="'remote' cannot be used"):
        form(PUBLIC, judge="remote", remote_model="gpt")


# The estimate


def test_an_estimate_counts_what_it_can_count() -> None:
    spec = TrainSpec(personas=("math", "critic"), queries_per_persona=4, answer_tokens=100)
    plan = forecast_training(spec, None)
    assert (plan.queries, plan.answers, plan.time, plan.memory_bytes) == (8, 16, None, None)
    assert [s.stage for s in plan.stages] == list(STAGES)
    measured = forecast_training(spec, PROBE)
    by_stage = {s.stage: s.time for s in measured.stages}
    # 40 pairs x 2 orders x 260 tokens at 500 a second
    assert by_stage["judge check"] == Span(41.6, 41.6)
    # 8 x 2 orders x (130 + 2 x 100) tokens at 500 a second, and with half the answers (130 + 100)
    assert by_stage["verification"] == Span(7.36, 10.56)
    assert measured.time is not None
    assert measured.time.low < measured.time.high
    assert measured.time.high == pytest.approx(sum(t.high for t in by_stage.values() if t))


def test_an_estimate_grows_with_the_work() -> None:
    def high(**changes: Any) -> float:
        found = forecast_training(replace(TrainSpec(), **changes), PROBE).time
        assert found is not None
        return found.high

    base = high()
    for more in ({"queries_per_persona": 8}, {"answer_tokens": 192}, {"epochs": 6}, {"rounds": 2}):
        assert high(**more) > base
    assert high(judge="remote", remote_model="m") == base
    demo = forecast_training(replace(TrainSpec(), judge="verifiable"), PROBE, queries=100)
    assert demo.queries == 100
    with pytest.raises(InputError, match="Without a persona"):
        forecast_training(TrainSpec(personas=()), PROBE)


def test_memory_is_the_larger_of_decoding_and_training() -> None:
    spec = TrainSpec(personas=("math",), queries_per_persona=1, answer_tokens=8, batch_size=1)
    # 1 answer of 45 + 165 + 8 tokens at 1 MB each is more than 2 rows of cache at 50 kB a token
    assert forecast_training(spec, PROBE).memory_bytes == 10**9 + 218 * 10**6


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1, 5, "under 10 s"),
        (12, 40, "12 to 40 s"),
        (10, 120, "up to 2 min"),
        (120, 121, "2 min"),
        (3_600, 7_200, "1.0 to 2.0 h"),
    ],
)
def test_spans_for_people(low: float, high: float, text: str) -> None:
    assert span_text(Span(low, high)) == text


def test_the_probe_measures_and_leaves_the_model_alone(tiny: LocalModel) -> None:
    before = {n: p.detach().clone() for n, p in tiny.model.named_parameters()}
    found = probe_speed(tiny, rows=4)
    assert min(found.decode_rate, found.read_rate, found.train_rate) > 0
    assert found.cell_bytes == 2 * 3 * 2 * 8 * 4  # keys and values, layers, heads, size, bytes
    after = dict(tiny.model.named_parameters())
    assert before.keys() == after.keys()
    assert all((before[n] == after[n]).all() and not after[n].requires_grad for n in before)
    with pytest.raises(InputError, match="rows is 0"):
        probe_speed(tiny, rows=0)


def test_the_plan_says_when_memory_is_short() -> None:
    found = forecast_training(TrainSpec(), PROBE)
    assert "Only 0.5 GB" in plan_panel(found, "Measured.", 5 * 10**8)
    assert "px-warning" not in plan_panel(found, "Measured.", 10**12)
    spec = replace(TrainSpec(), judge="remote", remote_model=EVIL)
    assert "<script" not in plan_panel(forecast_training(spec, None))


# The story


def test_a_story_is_read_from_the_journal(store: Store) -> None:
    run = make_run(store)
    story = read_story(store, run)
    tallies = {(r.persona, r.distill, r.retain, r.waiting) for r in story.routes}
    assert tallies == {("poet", 2, 1, 0), ("chef", 1, 1, 1)}  # the sixth was not judged
    assert [p.step for p in story.curve] == [0, 1, 2]
    assert story.result is not None
    assert story.result.seconds == 75.0
    found = read_findings(store, run.id)
    assert [j.route for j in found.judged] == ["distill", "retain", "distill", "retain", "distill"]
    assert found.report is not None
    assert found.report.distill.value == pytest.approx(3 / 5)
    assert found.check is None
    assert found.table == comparison()


def test_an_empty_run_and_the_marks_of_settings(store: Store) -> None:
    run = store.create_run("train", "New", pack(TrainSpec()), ME)
    assert read_story(store, run).routes == ()
    assert read_findings(store, run.id).judged == ()
    store.put_records(run.id, "verification", {"#settings": "abc"})
    assert read_findings(store, run.id).judged == ()


def test_runs_are_found_by_link_or_by_owner(store: Store) -> None:
    mine = make_run(store)
    theirs = make_run(store, OTHER)
    study = store.create_run("study", "No training", {}, ME)
    assert find_run(store, "train", None, ME).id == mine.id  # type: ignore[union-attr]
    assert find_run(store, "train", None, None) is None
    assert find_run(store, "train", theirs.id, ME).id == theirs.id  # type: ignore[union-attr]
    for wrong in (study.id, "../../etc", "f" * 32, "<script>"):
        assert find_run(store, "train", wrong, ME) is None


def test_filters(store: Store) -> None:
    run = make_run(store)
    judged = read_findings(store, run.id).judged

    def count(**wanted: Any) -> int:
        return sum(PairFilter(**wanted).takes(j) for j in judged)

    assert count() == 5
    assert count(persona="chef") == 2
    assert count(route="distill") == 3
    assert count(persona="poet", route="retain") == 1
    assert count(text="SEA  tell") == 1  # all words, any case, in question or answers
    assert count(text="nowhere") == 0


class NoJobs:
    """Knows of no queue."""

    def queue_position(self, run_id: str) -> int | None:
        return None


@pytest.fixture
def watcher(store: Store) -> TrainWatcher:
    jobs: Any = NoJobs()
    with gr.Blocks():
        return TrainWatcher(store, jobs, build_watch(), gr.Accordion(), PERSONAS)


def test_figures_are_sent_only_when_they_changed(store: Store, watcher: TrainWatcher) -> None:
    run, watch = make_run(store), watcher.watch
    plots = {watch.routes, watch.gate, watch.distil}
    first = watcher.look(run.id, ME, None)
    assert all(type(first[plot]).__name__ == "Plot" for plot in plots)
    seen = first[watch.seen]
    again = watcher.look(run.id, ME, seen)
    assert not plots & set(again)
    store.put_records(run.id, "distillation_curve", {"step-000003": CurvePoint(3, 1.5, 0.5)})
    third = watcher.look(run.id, ME, seen)
    assert plots & set(third) == {watch.distil}
    assert type(third[watch.distil]).__name__ == "Plot"


def visible(update: Any) -> Any:
    return update.visible if hasattr(update, "visible") else update["visible"]


def test_only_the_owner_gets_buttons_and_only_a_live_run_a_timer(
    store: Store, watcher: TrainWatcher
) -> None:
    run, watch = make_run(store), watcher.watch
    for who, cancel in ((ME, True), (OTHER, False), ("", False)):
        shown = watcher.look(run.id, who, None)
        assert visible(shown[watch.cancel]) is cancel
        assert shown[watch.timer].active is True
    finish(store, run)
    ended = watcher.look(run.id, ME, None)
    buttons = (watch.cancel, watch.resume, watch.delete)
    assert [visible(ended[button]) for button in buttons] == [False, False, True]
    assert ended[watch.timer].active is False


def test_a_stranger_cannot_cancel_resume_or_delete(store: Store, watcher: TrainWatcher) -> None:
    run, status = make_run(store), watcher.watch.status
    assert "There is no run" in watcher.delete(run.id, OTHER)[status]
    assert "reload" in watcher.delete(run.id, "")[status]
    assert store.get_run(run.id).id == run.id
    finish(store, run)
    assert "deleted" in watcher.delete(run.id, ME)[status]
    assert find_run(store, "train", run.id, ME) is None


# What is drawn


def test_a_run_at_work_shows_its_stage_and_time(store: Store) -> None:
    run = replace(
        make_run(store),
        status="running",
        stage="distillation",
        done=3,
        total=12,
        note="loss 0.5",
        seconds_left=130.0,
    )
    story = replace(read_story(store, run), run=run)
    states = step_states(story)
    assert states["gate"] == "done"
    assert states["distillation"] == "now"
    assert states["comparison"] == "next"
    shown = run_panel(story, 0)
    assert "about 2 min 10 s left" in shown
    assert 'aria-valuenow="25.0"' in shown
    assert "A &lt;b&gt;run&lt;/b&gt;" in shown


@pytest.mark.parametrize(
    ("status", "position", "text"),
    [
        ("queued", 3, "2 runs before it"),
        ("failed", None, "Out of &lt;b&gt;memory"),
        ("cancelled", None, "Resume goes on"),
        ("done", None, "Finished after 1 min 15 s"),
    ],
)
def test_the_other_states(store: Store, status: Any, position: int | None, text: str) -> None:
    run = replace(make_run(store), status=status, message="Out of <b>memory.")
    assert text in run_panel(replace(read_story(store, run), run=run), position)


def test_a_run_without_wins_says_so(store: Store) -> None:
    run = replace(make_run(store), status="done")
    null = {"has_adapter": False, "seconds": 5.0, "notes": ["Short.", "No persona won."]}
    store.put_records(run.id, "result", {"result": null})
    story = replace(read_story(store, run), run=run)
    shown = run_panel(story, None)
    assert "No persona won." in shown
    assert "px-warn" in shown
    assert step_states(story)["distillation"] == "left out"


def test_durations() -> None:
    assert [duration(s) for s in (0.2, 59.4, 61, 3_000, 7_500)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "50 min",
        "2 h 5 min",
    ]


def test_the_gates_numbers_at_a_threshold() -> None:
    report = gate_report(judged_pairs())
    # held out: wins at 0.9 and 0.6, losses at 0.7 and 0.1
    at_half = threshold_panel(report, 0.5)
    assert "75 %" in at_half  # 3 of 4 opened
    assert "67 %" in at_half  # 2 of those 3 rightly
    assert "100 %" in at_half  # 2 of 2 wins
    assert "1 opened where it does not" in at_half
    high = threshold_panel(report, 0.8)
    assert "25 %" in high
    assert "not defined" in threshold_panel(report, 0.95)  # nothing opens, so no precision


def test_figures_hold_the_numbers() -> None:
    report = gate_report(judged_pairs())
    roc = roc_figure(report, 0.65)
    # of pairs (win, loss): 0.9 > 0.7, 0.9 > 0.1, 0.6 < 0.7, 0.6 > 0.1 -> 3 of 4
    assert "0.75" in roc.layout.title.text
    assert (roc.data[-1].x[0], roc.data[-1].y[0]) == (0.5, 0.5)  # one loss and one win opened
    pr = pr_figure(report, 0.65)
    assert (pr.data[-1].x[0], pr.data[-1].y[0]) == (0.5, 0.5)
    assert len(pr_figure(report, 1.0).data) == 2  # no mark where nothing opens
    assert sum(calibration_figure(report).data[1].customdata) == 4
    one_kind = replace(report, rows=tuple(replace(r, distill=True) for r in report.rows))
    assert "all of one kind" in roc_figure(one_kind, 0.5).layout.annotations[0].text
    curve = gate_curve_figure(report.curve)
    assert [len(line.x) for line in curve.data] == [2, 1]
    for empty in (gate_curve_figure(()), distill_figure(()), routes_figure((), {})):
        assert len(empty.layout.annotations) == 1


def test_answers_are_shown_letter_by_letter(store: Store) -> None:
    run = make_run(store)
    found = read_findings(store, run.id)
    shown = pairs_panel(found.judged, 0, 5, {"poet": f"Poet {EVIL}"})
    assert "<script" not in shown
    assert "&#123;x&#125;" in shown
    assert "<b>90%</b> shown first" in shown
    assert "<b>20%</b> shown second; the orders disagree" in shown
    assert "cut at the limit" in shown
    assert "px-warn" not in judge_panel(replace(found, report=replace(found.report, warning="")))
    assert "No judged question fits" in pairs_panel([], 0, 0, {})


def test_the_comparison_as_a_table() -> None:
    frame = comparison_frame(comparison())
    assert list(frame.columns) == ["System", "Win rate", "Routed", "Time (s)"]
    assert frame.values.tolist() == [
        ["Base", "", "", ""],
        ["PRISM", "0.50 [0.25, 0.75]", "100 % [50, 100], n = 4", ""],
    ]


# The shelf


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> AdapterShelf:
    put_bundle(tmp_path / "shipped" / "demo", "Demo")
    (tmp_path / "shipped" / "damaged").mkdir()
    (tmp_path / "shipped" / "damaged" / "prism.json").write_text("{")
    return AdapterShelf(store, tmp_path / "shipped")


def own_adapter(store: Store, owner: str = ME) -> str:
    run = finish(store, make_run(store, owner))
    put_bundle(run.path / "adapter")
    return run.id


def test_a_visitor_sees_own_and_shipped_adapters(store: Store, shelf: AdapterShelf) -> None:
    mine, theirs = own_adapter(store), own_adapter(store, OTHER)
    unfinished = make_run(store)
    put_bundle(unfinished.path / "adapter")
    assert [e.id for e in shelf.entries(ME)] == [mine, "shipped-demo"]
    assert [e.id for e in shelf.entries(OTHER)] == [theirs, "shipped-demo"]
    assert [e.title for e in shelf.entries(None)] == ["Demo (shipped)"]
    with pytest.raises(NotFoundError):
        shelf.folder(theirs, ME)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "..",
        "../demo",
        "shipped-",
        "shipped-../demo",
        "shipped-damaged/../demo",
        "/etc",
        "shipped-/etc",
        "f" * 32,
        "<b>",
        "shipped-demo\0",
    ],
)
def test_no_made_up_id_reaches_the_disk(shelf: AdapterShelf, wrong: str) -> None:
    for act in (shelf.folder, shelf.zip_file):
        with pytest.raises(PrismError):
            act(wrong, ME)
    with pytest.raises(PrismError):
        shelf.delete(wrong, ME)


def test_rename_threshold_and_delete(store: Store, shelf: AdapterShelf) -> None:
    mine = own_adapter(store)
    assert shelf.rename(mine, ME, "  Better   name ").name == "Better name"
    assert shelf.set_threshold(mine, ME, 0.7).threshold == 0.7
    assert read_info(shelf.folder(mine, ME)).threshold == 0.7
    for name in ("", "x" * 81, "a\u202eb"):
        with pytest.raises(InputError):
            shelf.rename(mine, ME, name)
    with pytest.raises(InputError, match="between 0 and 1"):
        shelf.set_threshold(mine, ME, 1.5)
    with pytest.raises(NotFoundError):
        shelf.delete(mine, OTHER)
    shelf.delete(mine, ME)
    assert [e.id for e in shelf.entries(ME)] == ["shipped-demo"]
    assert read_findings(store, mine).judged  # what the run found stays


def test_shipped_adapters_cannot_be_changed(shelf: AdapterShelf) -> None:
    for act in (
        lambda: shelf.rename("shipped-demo", ME, "Mine"),
        lambda: shelf.set_threshold("shipped-demo", ME, 0.1),
        lambda: shelf.delete("shipped-demo", ME),
    ):
        with pytest.raises(InputError, match="cannot be changed"):
            act()


def test_the_zip_holds_the_bundle_and_nothing_else(store: Store, shelf: AdapterShelf) -> None:
    mine = own_adapter(store)
    shelf.rename(mine, ME, "../My & adapter")
    path = shelf.zip_file(mine, ME)
    assert path.name == "My-adapter.zip"
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert sorted(archive.namelist()) == [
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "gate.safetensors",
            "prism.json",
        ]
        assert json.loads(archive.read("prism.json"))["name"] == "../My & adapter"


def test_the_sheet_escapes_notes(store: Store, shelf: AdapterShelf) -> None:
    shown = adapter_sheet(shelf.entry("shipped-demo", None))
    assert "0.90 [0.80, 0.95]" in shown
    assert "<script" not in shown
    assert "no adapter yet" in adapter_sheet(None)


def test_a_threshold_is_saved_by_the_owner_alone(
    store: Store, shelf: AdapterShelf, watcher: TrainWatcher
) -> None:
    mine = own_adapter(store)
    with gr.Blocks():
        results = build_results()
    handlers = ResultHandlers(store, shelf, PERSONAS, results)

    def saved(visitor: str, threshold: object) -> str:
        return html.unescape(handlers.save(mine, visitor, threshold)[results.save_status])

    assert "no adapter" in saved(OTHER, 0.3)
    assert "opens from 0.30" in saved(ME, 0.3)
    assert "'1.5'; it must be a number from 0 to 1" in saved(ME, 1.5)
    assert "Threshold is empty" in saved(ME, None)
    mark = watcher.look(mine, ME, None)[watcher.watch.mark]
    loaded = handlers.load(mark, ME, "")
    assert set(loaded) == set(results.outputs)
    assert loaded[results.threshold] == 0.3  # the slider stands where the adapter does
    assert visible(loaded[results.save]) is True
    assert visible(handlers.load(mark, OTHER, "")[results.save]) is False
    lost = handlers.load("nonsense", ME, "")
    assert lost[results.box].visible is False and set(lost) <= set(results.outputs)

    def pairs(*filters: Any) -> str:
        return html.unescape(handlers.pairs(mark, *filters)[results.pairs])

    assert "1 to 5 of 5" in pairs("", "", "", 99)
    assert "1 to 3 of 3" in pairs("", "distill", "", 1)
    assert "Page is empty" in pairs("", "distill", "", None)
    assert "Page is '-3'" in pairs("", "", "", -3)
    for wrong in (None, -0.1, math.nan, 10**400):
        assert "a number from 0 to 1" in handlers.at(mark, wrong)[results.at_threshold]
    other = handlers.at(mark, 0.65)
    assert set(other) == set(results.threshold_outputs)
    assert "Share routed" in other[results.at_threshold]


def test_files_made_for_a_download_do_not_pile_up(store: Store, shelf: AdapterShelf) -> None:
    old, young = shelf.zip_file("shipped-demo", None), shelf.zip_file("shipped-demo", None)
    assert old.parent != young.parent  # two visitors' files of one name stay apart
    long_ago = old.parent.stat().st_mtime - KEEP_SECONDS - 1
    os.utime(old.parent, (long_ago, long_ago))
    shelf.zip_file("shipped-demo", None)
    assert not old.parent.exists()
    assert young.is_file()


def test_files_made_for_a_download_go_with_the_app() -> None:
    code = """
from app.services.downloads import download_path
path = download_path("x.zip")
path.write_bytes(b"x")
print(path)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path = Path(ran.stdout.strip())
    assert path.name == "x.zip"
    assert not path.parent.parent.exists()
