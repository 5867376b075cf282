"""What the tabs that start and watch runs share: controls, links, and the most unfinished runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from support.train_records import ME

from app.common.run_start import check_unfinished
from app.common.run_watch import RunWatcher
from app.rl.composer import build_rl_form
from app.rl.handlers import RlStarter
from app.rl.watch import RlWatcher, build_rl_watch
from app.server.landing import Landing
from app.services.settings import Settings
from app.services.study_shelf import StudyImports, StudyShelf
from app.study.composer import YAML, build_study_form
from app.study.handlers import StudyStarter
from app.study.watch import StudyWatcher, build_study_watch
from app.train.watch import TrainWatcher, build_watch
from prism_core.errors import InputError, NotFoundError
from prism_core.personas.library import load_personas
from prism_core.prism.spec import TrainSpec
from prism_core.rl.spec import RL_PRESETS, RlSpec
from prism_core.storage import Store, pack
from prism_core.study.spec import StudySpec

OTHER = "b" * 32
SPECS: dict[str, Any] = {
    "train": pack(TrainSpec()),
    "rl": pack(RlSpec()),
    "study": pack(StudySpec()),
}


class Refusing:
    """Jobs that know of no queue and refuse every change to a run."""

    def submit(self, kind: str, name: str, spec: object, owner: str, client: str) -> str:
        return f"{kind} {name}"

    def queue_position(self, run_id: str) -> int | None:
        return None

    def cancel(self, run_id: str, owner: str, client: str = "") -> None:
        raise NotFoundError("There is no run of that id.")

    resume = cancel


def watcher_of(store: Store, kind: str) -> RunWatcher:
    jobs: Any = Refusing()
    with gr.Blocks():
        fold = gr.Accordion()
        if kind == "train":
            return TrainWatcher(store, jobs, build_watch(), fold, {})
        if kind == "rl":
            return RlWatcher(store, jobs, build_rl_watch(), fold)
        return StudyWatcher(store, jobs, build_study_watch(), fold)


def asking(**query: str) -> Any:
    return SimpleNamespace(query_params=query)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(home=tmp_path / "home") as opened:
        yield opened


@pytest.mark.parametrize("kind", ["train", "rl", "study"])
def test_a_look_sets_what_it_lists_and_nothing_else(store: Store, kind: str) -> None:
    watcher = watcher_of(store, kind)
    watch = watcher.watch
    run = store.create_run(kind, "A run", SPECS[kind], ME)
    broken = store.create_run(kind, "A run of another version", {"nonsense": 1}, ME)
    looks = [watcher.look(run.id, ME), watcher.look("", ME)]
    if kind != "study":  # whose panel does not need the spec
        looks.append(watcher.look(broken.id, ME))
    assert all(set(look) <= set(watch.outputs) for look in looks)
    shown = looks[0]
    assert set(watch.outputs) - set(shown) <= {watch.seen}  # a study remembers nothing
    buttons = (watch.cancel, watch.resume, watch.delete)
    assert [shown[b].visible for b in buttons] == [True, False, False]
    assert shown[watch.timer].active is True
    assert looks[1][watch.box].visible is False
    assert looks[1][watch.timer].active is False
    if kind != "study":
        assert looks[2][watch.box].visible is True and "alert" in looks[2][watch.panel]


@pytest.mark.parametrize("kind", ["train", "rl", "study"])
def test_a_link_leads_to_its_run_and_its_tab(store: Store, tmp_path: Path, kind: str) -> None:
    watcher = watcher_of(store, kind)
    theirs = store.create_run(kind, "Theirs", SPECS[kind], OTHER)
    mine = store.create_run(kind, "Mine", SPECS[kind], ME)
    link = asking(**{watcher.what.key: theirs.id})
    run_id = watcher.watch.run_id
    arrived = watcher.arrive("", ME, link)
    assert arrived[run_id] == theirs.id and arrived[watcher.fold].open is False
    landing = Landing(store, StudyShelf(store, StudyImports(tmp_path, Settings())))
    assert landing.tab(link) == kind  # a study that has not ended is watched
    assert landing.tab(asking()) == ""
    lost = {"train": "", "rl": "", "study": "explore"}  # Explore says what is wrong
    assert landing.tab(asking(**{watcher.what.key: "f" * 32})) == lost[kind]
    assert watcher.arrive("", ME, asking(**{watcher.what.key: "f" * 32}))[run_id] == mine.id
    assert watcher.arrive("", ME, asking())[run_id] == mine.id
    assert watcher.arrive("", None, asking())[run_id] == ""
    stays = watcher.arrive(theirs.id, ME, asking())  # it is on the screen already
    assert stays[run_id] == theirs.id and watcher.fold not in stays


@pytest.mark.parametrize("kind", ["train", "rl", "study"])
def test_refusals_are_said_and_a_deleted_run_makes_room(store: Store, kind: str) -> None:
    watcher = watcher_of(store, kind)
    watch = watcher.watch
    older = store.create_run(kind, "Older", SPECS[kind], ME)
    newer = store.create_run(kind, "Newer", SPECS[kind], ME)
    assert "There is no run" in watcher.cancel(newer.id, ME)[watch.status]
    assert "reload" in watcher.resume(newer.id, "", gr.Request())[watch.status]
    refused = watcher.delete(newer.id, OTHER)
    assert "alert" in refused[watch.status] and watch.run_id not in refused  # it stays
    store.request_cancel(newer.id, ME)
    deleted = watcher.delete(newer.id, ME)
    assert f"The {watcher.what.noun} is deleted" in deleted[watch.status]
    assert deleted[watch.run_id] == older.id and deleted[watch.confirm.row].visible is False


def test_how_many_may_be_unfinished(store: Store) -> None:
    store.create_run("train", "One", SPECS["train"], ME)
    study = store.create_run("study", "Two", SPECS["study"], ME)
    with pytest.raises(InputError, match="2 unfinished runs"):
        check_unfinished(store, ME, 2)  # training and reinforcement learning count all
    check_unfinished(store, ME, 2, "study")  # studies count alone: there is one
    with pytest.raises(InputError, match="1 unfinished studies"):
        check_unfinished(store, ME, 1, "study")
    check_unfinished(store, OTHER, 1)
    store.request_cancel(study.id, ME)
    check_unfinished(store, ME, 2)


def page_of(store: Store, **more: Any) -> Any:
    settings = Settings(cache=Path("/none"))
    return SimpleNamespace(settings=settings, store=store, jobs=Refusing(), **more)


def test_the_rl_form_is_filled_planned_and_started(store: Store) -> None:
    page = page_of(store)
    with gr.Blocks():
        form, watch = build_rl_form(page.settings), build_rl_watch()
    starter = RlStarter(page, form, watch.run_id)
    kept = {form.by_name[name] for name in ("arm", "model", "name")}
    assert set(starter.preset("full")) == set(form.fields) - kept
    values = [getattr(RL_PRESETS["quick"], name) for name in form.by_name]
    assert "steps of" in starter.plan(*values)[form.plan]
    assert "reload" in starter.start(gr.Request(), "", *values)[form.status]
    started = starter.start(gr.Request(), ME, *values)
    assert set(started) == {form.status, form.fold, watch.run_id}
    assert started[watch.run_id].startswith("rl ") and started[form.fold].open is False
    for _ in range(page.settings.max_unfinished):
        store.create_run("study", "A study counts as well", SPECS["study"], ME)
    refused = starter.start(gr.Request(), ME, *values)
    assert "unfinished runs" in refused[form.status] and set(refused) == {form.status}


def test_the_study_form_moves_between_fields_and_yaml(store: Store, tmp_path: Path) -> None:
    library = load_personas()
    shelf = SimpleNamespace(entries=lambda owner: [SimpleNamespace(id="mine", title="Mine")])
    probes = SimpleNamespace(known=lambda model: None)
    page = page_of(store, shelf=shelf, probes=probes)
    with gr.Blocks():
        form = build_study_form(page.settings, library, [])
        watch = build_study_watch()
    starter = StudyStarter(page, form, watch.run_id, library)
    values = [None, *(field.value for field in form.fields)]
    planned = starter.plan(*values)
    assert "What it can see" in planned[form.plan] and planned[form.measure].visible is True
    text = starter.write_yaml(*values)[form.yaml]
    assert "name: My study" in text
    assert starter.spec(None, YAML, text, *values[3:]) == starter.spec(*values)
    (tmp_path / "spec.yaml").write_text(text)
    assert starter.read_yaml(str(tmp_path / "spec.yaml"))[form.yaml] == text
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    assert "UTF-8" in starter.read_yaml(str(tmp_path / "bytes.yaml"))[form.status]
    shown = starter.switch(YAML)
    assert shown[form.yaml_box].visible is True and shown[form.form_box].visible is False
    offered = starter.offer([], ME, ["math", "gone"], ["mine", "gone"])
    assert offered[form.by_name["personas"]].value == ["math"]
    assert offered[form.by_name["adapters"]].value == ["mine"]
    for _ in range(page.settings.max_unfinished):
        store.create_run("train", "Training leaves room", SPECS["train"], ME)
    assert starter.start(gr.Request(), ME, *values)[watch.run_id] == "study My study"
