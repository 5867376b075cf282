"""The operator's page, the health endpoint, retention, and what a Space says of itself."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import yaml
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient
from support.paths import ROOT
from support.train_records import ME

from app.server.deployment import deploy
from app.server.door import Door, DoorRules
from app.server.headers import SecurityHeaders
from app.server.health import Health
from app.server.hosts import host_rule
from app.server.operator import Operator, operator_token
from app.server.options import parse
from app.server.sessions import Sessions
from app.services.block_list import BlockList
from app.services.clients import CLIENT_KEY, Clients
from app.services.event_log import EventLog
from app.services.jobs import Jobs
from app.services.quotas import Quotas, quotas_of
from app.services.retention import DAY, Janitor, Keep, keep_of
from app.services.run_limits import RunLimits
from app.services.settings import Settings
from app.services.space import PRELOADED, disk_sentence, lasting_folders, space_of
from app.services.study_shelf import StudyImports
from app.train.shelf_panel import ShelfHandlers, build_shelf
from prism_core.errors import InputError
from prism_core.storage import Store
from prism_core.types import Completion

OTHER = "b" * 32
TOKEN = "a-token-of-the-operator"
ANSWER = Completion(text="a", tokens=1, finish="stop", seconds=0.1, first_token_seconds=0.1)
SPACE = {"SPACE_ID": "me/prism", "SPACE_HOST": "me-prism.hf.space", "SYSTEM": "spaces"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def rules(store: Store) -> DoorRules:
    return DoorRules(
        hosts=host_rule("127.0.0.1"),
        clients=Clients("secret"),
        quotas=quotas_of(public=True),
        blocks=BlockList(store.home / "server" / "blocked.json"),
        log=EventLog(store.home / "logs"),
        sessions=Sessions(),
    )


@pytest.fixture
def jobs(store: Store, rules: DoorRules) -> Jobs:
    return Jobs(store, quotas=rules.quotas)


@pytest.fixture
def imports(store: Store) -> StudyImports:
    return StudyImports(store.home / "studies", Settings(public=True))


@pytest.fixture
def site(store: Store, rules: DoorRules, jobs: Jobs, imports: StudyImports) -> TestClient:
    settings = Settings(public=True, cache=store.home / "cache")
    pool: Any = SimpleNamespace(is_loaded=lambda name: True)
    operator = Operator(TOKEN, settings, rules, store, jobs, imports)
    app = Starlette(
        routes=[Health(settings, pool, store, jobs).route(), *operator.routes()],
        middleware=[Middleware(SecurityHeaders), Middleware(Door, rules=rules)],
    )
    return TestClient(app, "http://localhost", client=("198.51.100.7", 1), follow_redirects=False)


def test_the_operator_sees_who_holds_what_and_acts(
    site: TestClient, rules: DoorRules, jobs: Jobs, store: Store
) -> None:
    run_id = jobs.submit("train", "my secret illness", {}, ME, "c0ffee")
    rules.waiting = lambda: [{CLIENT_KEY: "c0ffee"}] * 3
    rules.log.refuse("badc0de", "queue", "places")
    auth = ("operator", TOKEN)
    page = site.get("/operator", auth=auth)
    assert page.status_code == 200 and page.headers["referrer-policy"] == "same-origin"
    for shown in ("c0ffee", "badc0de", run_id[:8], "3 of 160 places", "queued, place 1", "Free"):
        assert shown in page.text
    assert "illness" not in page.text  # what visitors write is theirs
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert site.post("/operator/cancel", data={"run": run_id}, headers=bearer).status_code == 303
    assert store.get_run(run_id).status == "cancelled"
    assert site.post("/operator/block", data={"client": "badc0de"}, auth=auth).status_code == 303
    assert "badc0de" in rules.blocks and "Admit" in site.get("/operator", auth=auth).text
    site.post("/operator/admit", data={"client": "badc0de"}, auth=auth)
    assert "badc0de" not in rules.blocks
    own = rules.clients.name({"client": ("198.51.100.7", 1)})
    site.post("/operator/block", data={"client": own}, auth=auth)
    assert site.get("/").status_code == 403  # blocked by mistake
    assert site.post("/operator/admit", data={"client": own}, auth=auth).status_code == 303
    assert site.get("/").status_code == 404  # let in again; this site has no page there
    lost = site.post("/operator/cancel", data={"run": "f" * 32}, auth=auth)
    assert lost.status_code == 400 and "There is no run" in lost.text
    assert site.post("/operator/block", data={"client": "<script>"}, auth=auth).status_code == 400


def test_nobody_else_sees_it(site: TestClient, rules: DoorRules) -> None:
    assert site.get("/operator").status_code == 401
    assert "Basic" in site.get("/operator").headers["www-authenticate"]
    evil = {"origin": "https://evil.example"}
    block = {"client": "c0ffee"}
    good = ("operator", TOKEN)
    assert site.post("/operator/block", data=block, auth=good, headers=evil).status_code == 403
    assert site.get("/operator", auth=good, headers=evil).status_code == 403  # a browser knows them
    for wrong in ("", "Basic !!", "Basic Og==", "Digest x", f"Bearer {TOKEN}x"):
        assert site.get("/operator", headers={"authorization": wrong}).status_code == 401
    guesses = [site.get("/operator", auth=("x", f"{n}")).status_code for n in range(30)]
    assert guesses[-1] == 429  # and the right one is not looked at either
    assert site.get("/operator", auth=good).status_code == 429
    assert not rules.blocks.all()


def test_the_operators_token_is_kept_or_long(tmp_path: Path) -> None:
    made = operator_token(tmp_path, {})
    assert (
        len(made) == 32 == len(operator_token(tmp_path, {}))
        and (tmp_path / "operator-token").stat().st_mode & 0o077 == 0
    )
    assert operator_token(tmp_path, {}) == made
    assert operator_token(tmp_path, {"PRISM_OPERATOR_TOKEN": TOKEN}) == TOKEN
    with pytest.raises(InputError, match="has 5 characters; use at least 16"):
        operator_token(tmp_path, {"PRISM_OPERATOR_TOKEN": "short"})


def test_the_app_says_how_it_is(site: TestClient, store: Store, rules: DoorRules) -> None:
    rules.blocks.set(rules.clients.name({"client": ("198.51.100.7", 1)}), blocked=True)
    well = site.get("/healthz", headers={"host": "10.0.0.3"})  # whatever watches it calls it so
    assert well.status_code == 200
    assert well.json() | {"version": ""} == {
        **{"status": "ok", "version": "", "store": True, "model": True, "workers": 0}
    }
    store.close()
    (store.home / "prism.sqlite3").unlink()
    assert site.get("/healthz").status_code == 503


def test_runs_are_counted_by_client_over_restarts(store: Store, rules: DoorRules) -> None:
    for number in range(6):  # a script makes up a visitor for each
        Jobs(store, quotas=rules.quotas).submit("train", "t", {}, f"{number:032d}", "c0ffee")
    again = Jobs(store, quotas=rules.quotas, log=rules.log)
    with pytest.raises(InputError, match="6 unfinished runs from your address already"):
        again.submit("study", "t", {}, ME, "c0ffee")
    assert rules.log.refused() == {"c0ffee": 1}
    other = again.submit("train", "t", {}, ME, "badc0de")
    again.cancel(other, ME)
    with pytest.raises(InputError, match="from your address"):
        again.resume(other, ME, "c0ffee")  # resuming counts as well
    assert again.resume(other, ME, "badc0de").status == "queued"
    Jobs(store, quotas=quotas_of(public=True, room=30)).submit("train", "t", {}, ME, "c0ffee")
    Jobs(store).submit("train", "t", {}, ME)  # a copy of one's own counts nothing


def test_strangers_files_are_refused_and_nobodys_is_dropped(store: Store, rules: DoorRules) -> None:
    shipped = ROOT / "assets" / "studies" / "embedded.parquet"
    size = shipped.stat().st_size
    quotas = Quotas(kept_files=3, kept_bytes=10 * size, all_kept_bytes=5 * size)
    imports = StudyImports(store.home / "studies", Settings(public=True), quotas, rules.log)
    mine = imports.add(shipped, ME, "badc0de")
    for number in range(3):  # a script makes up a visitor for each
        imports.add(shipped, f"{number:032x}", "c0ffee")
    with pytest.raises(InputError, match="3 study files from your address already"):
        imports.add(shipped, "f" * 32, "c0ffee")
    imports.add(shipped, OTHER, "another")
    with pytest.raises(InputError, match="no room for another"):
        imports.add(shipped, "e" * 32, "yet another")
    assert imports.get(mine.id) == mine and len(imports.list()) == 5
    few = StudyImports(imports._folder, Settings(public=True), Quotas(kept_bytes=size), rules.log)
    with pytest.raises(InputError, match="bytes of study files from your address"):
        few.add(shipped, ME, "badc0de")
    assert [one.what for one in rules.log.refusals()] == ["bytes of study files", "study files"]


def test_a_run_has_its_time_and_no_more(store: Store) -> None:
    clock = [0.0]
    limits = RunLimits(store, Quotas(run_seconds=3_600), now=lambda: clock[0])
    store.create_run("train", "long", {}, ME)
    run = store.claim_next("w1")
    assert run is not None and limits.overdue([run]) == []
    clock[0] = 3_600
    assert limits.overdue([run]) == []
    clock[0] = 3_601
    assert limits.overdue([run]) == [run]
    assert "60 minutes" in limits.overdue_sentence()
    jobs = Jobs(store, quotas=Quotas(run_seconds=-1))
    jobs._tick()
    jobs.stop()
    ended = store.get_run(run.id)
    assert (ended.status, ended.worker) == ("failed", "") and "resume it" in ended.message
    assert store.heartbeat(run.id, "w1") is None  # at which its worker lets go
    store.requeue(run.id)
    later = store.claim_next("w2")
    assert later is not None and limits.overdue([later]) == []  # a new turn


def test_what_is_old_or_too_much_goes_and_nothing_else(
    store: Store, imports: StudyImports, rules: DoorRules
) -> None:
    runs = [store.create_run("train", f"run {n}", {}, ME) for n in range(4)]
    for run in runs[:3]:
        store.request_cancel(run.id)
        run.path.mkdir(parents=True)
        (run.path / "adapter").write_bytes(b"x" * 1_000)
    shipped = ROOT / "assets" / "studies" / "embedded.parquet"
    study = imports.add(shipped, ME)
    assert store.put_completions({"k" * 64: ANSWER}) == 1
    updated = [store.get_run(run.id).updated for run in runs]
    too_much = Janitor(store, imports, Keep(run_bytes=2_000), rules.log)
    too_much.tidy()
    left = {run.id for run in store.list_runs()}
    assert left == {run.id for run in runs[1:]} and not runs[0].path.exists()
    old = Janitor(store, imports, Keep(days=14), rules.log)
    old.tidy(updated[2] + 13 * DAY)
    assert {run.id for run in store.list_runs()} == left and imports.get(study.id) == study
    old.tidy(updated[2] + 15 * DAY)
    assert {run.id for run in store.list_runs()} == {runs[3].id}  # it waits: never touched
    assert imports.list() == [] and store.get_completions(["k" * 64]) == {}


def test_the_cache_keeps_the_latest(store: Store) -> None:
    for letter in "abc":
        store.put_completions({letter * 64: ANSWER})
    assert store.prune_answers(0.0, most=2) == 1
    assert set(store.get_completions([c * 64 for c in "abc"])) == {"b" * 64, "c" * 64}


def test_how_long_is_told_by_the_operator() -> None:
    assert keep_of(False, {}) == Keep()
    assert keep_of(True, {}).days == 14
    assert keep_of(False, {"PRISM_KEEP_DAYS": "30"}).days == 30
    with pytest.raises(InputError, match="PRISM_KEEP_DAYS is '0'"):
        keep_of(True, {"PRISM_KEEP_DAYS": "0"})


def options(*arguments: str) -> argparse.Namespace:
    return parse(arguments, {})


def test_a_space_keeps_on_the_disk_that_lasts_and_says_so(tmp_path: Path) -> None:
    data = tmp_path / "data"
    lost = space_of(SPACE, data)
    assert lost is not None and not lost.lasts and lasting_folders(lost, SPACE, data) == {}
    assert "emptied at every restart" in disk_sentence(lost, True, 14, tmp_path, data)
    data.mkdir()
    lasting = space_of(SPACE, data)
    folders = lasting_folders(lasting, SPACE, data)
    assert folders == {
        "PRISM_DATA_HOME": str(data / "prism-studio"),
        "PRISM_CACHE_DIR": str(data / "prism-models"),
    }
    home = Path(folders["PRISM_DATA_HOME"])
    said = disk_sentence(lasting, True, 14, home, data)
    assert "outlasts restarts, and what is older than 14 days is deleted" in said
    elsewhere = {**SPACE, "PRISM_DATA_HOME": "/tmp/x"}
    assert "PRISM_DATA_HOME" not in lasting_folders(lasting, elsewhere, data)
    assert "emptied" in disk_sentence(lasting, True, 14, Path("/tmp/x"), data)
    assert space_of({}) is None and disk_sentence(None, False, 14, home) == ""


def test_a_deployment_tells_its_worker_and_uvicorn() -> None:
    here: dict[str, str] = {"PRISM_MODEL_ALLOWLIST": "a/b"}
    made = deploy(options("--host", "0.0.0.0", "--proxy", "10.0.0.1"), here)
    assert made.settings.public and made.quotas.places == 40
    assert (here["PRISM_PUBLIC"], here["FORWARDED_ALLOW_IPS"]) == ("1", "10.0.0.1")
    alone: dict[str, str] = {}
    made = deploy(options(), alone)
    assert not made.settings.public and "PRISM_PUBLIC" not in alone
    assert alone["FORWARDED_ALLOW_IPS"] == ""  # not even this machine's, uvicorn's default
    trusted = deploy(options("--host", "0.0.0.0", "--trusted", "--room", "50"), {})
    assert not trusted.settings.public and trusted.quotas.queue == 100
    space = dict(SPACE)
    made = deploy(options("--host", "0.0.0.0"), space)
    assert (
        made.settings.public
        and not made.settings.has_login
        and "10.0.0.0/8" in space["FORWARDED_ALLOW_IPS"]
    )
    login = {**SPACE, "OAUTH_CLIENT_ID": "i", "OAUTH_CLIENT_SECRET": "s"}
    assert deploy(options(), dict(login)).settings.has_login
    del login["SYSTEM"]  # not a Space: Gradio would hand out the machine's own token
    assert not deploy(options(), login).settings.has_login


def test_where_visitors_sign_in_no_token_is_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradio.routes.attach_oauth", lambda app: None)  # for Spaces alone
    with gr.Blocks():
        signed, pasted = build_shelf(True), build_shelf(False)
    assert (signed.token.visible, pasted.token.visible) == (False, True)
    pushed: list[tuple[Any, ...]] = []
    shelf: Any = SimpleNamespace(push=lambda *given, private: pushed.append(given) or "url")
    handlers = ShelfHandlers(shelf, signed)
    refused = handlers.push_signed_in(ME, "a", "me/adapter", "pasted", True, None)
    assert "Sign in with Hugging Face first" in refused[signed.hub_status] and not pushed
    login = gr.OAuthToken("of the login", "contribute-repos", 1)
    handlers.push_signed_in(ME, "a", "me/adapter", "pasted", True, login)
    assert pushed == [("a", ME, "me/adapter", "of the login")]


def test_the_readme_configures_the_space() -> None:
    front = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert front["hf_oauth"] is True and front["hf_oauth_scopes"] == ["contribute-repos"]
    assert tuple(line.split()[0] for line in front["preload_from_hub"]) == PRELOADED
    gradio = next(
        line
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line.startswith("gradio[")
    )
    assert gradio == f"gradio[mcp,oauth]=={front['sdk_version']}"
    assert os.path.exists(ROOT / front["app_file"])
