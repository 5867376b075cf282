"""What strangers meet: names, addresses, quotas, passwords, and what a visit leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.server.door import MAX_BODY_BYTES, Door, DoorRules
from app.server.hosts import HostRule, host_rule
from app.server.options import login_of, parse
from app.server.sessions import LeanSession, Sessions
from app.services.block_list import BlockList
from app.services.clients import CLIENT_KEY, SPACE_PROXIES, Clients
from app.services.event_log import EventLog
from app.services.quotas import Quotas, Spent, quotas_of
from app.services.settings import read_settings
from prism_core.errors import StorageError


async def _answer(request: Request) -> Response:
    body = await request.body()
    wrong = request.url.path == "/login" and body != b"right"
    return PlainTextResponse(f"{len(body)}", 400 if wrong else 200)


class House:
    """An app behind a door, and visitors at it."""

    def __init__(self, home: Path, quotas: Quotas, hosts: HostRule) -> None:
        self.waiting: list[dict[str, Any]] = []
        self.rules = DoorRules(
            hosts=hosts,
            clients=Clients("secret"),
            quotas=quotas,
            blocks=BlockList(home / "blocked.json"),
            log=EventLog(home / "logs"),
            sessions=Sessions(),
            waiting=lambda: self.waiting,
        )
        routes = [Route("/{path:path}", _answer, methods=["GET", "POST"])]
        self.app = Starlette(routes=routes, middleware=[Middleware(Door, rules=self.rules)])

    def visitor(self, address: str = "198.51.100.7") -> TestClient:
        return TestClient(self.app, "http://localhost", client=(address, 4000))

    def name(self, address: str) -> str:
        return self.rules.clients.name({"client": (address, 0)})


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, quotas_of(public=True), host_rule("127.0.0.1"))


@pytest.mark.parametrize(
    ("rule", "host", "answered"),
    [
        (host_rule("127.0.0.1"), "127.0.0.1:7860", True),
        (host_rule("127.0.0.1"), "LOCALHOST:7860", True),
        (host_rule("127.0.0.1"), "[::1]:7860", True),
        (host_rule("127.0.0.1"), "rebound.example:7860", False),
        (host_rule("127.0.0.1"), "192.168.1.5:7860", False),
        (host_rule("127.0.0.1"), "127.0.0.1.rebound.example", False),
        (host_rule("127.0.0.1"), "", False),
        (host_rule("0.0.0.0"), "192.168.1.5:7860", True),
        (host_rule("0.0.0.0"), "rebound.example", False),
        (host_rule("0.0.0.0", ["prism.school.example"]), "prism.school.example", True),
        (host_rule("127.0.0.1", share=True), "0a1b.gradio.live", True),
        (host_rule("127.0.0.1", share=True), "gradio.live.example", False),
        (host_rule("0.0.0.0", space="me-prism.hf.space"), "anything.example", True),
    ],
)
def test_only_own_names_are_answered(rule: HostRule, host: str, answered: bool) -> None:
    assert (rule.problem({"host": host}) == "") is answered


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://localhost:7860", "localhost:7860", True),
        ("http://localhost:9999", "localhost:7860", False),
        ("http://127.0.0.1:7860", "localhost:7860", False),
        ("https://me-prism.hf.space", "me-prism.hf.space", True),
        ("https://me-prism.hf.space", "10.0.0.4:7860", True),
        ("https://me-prism.hf.space.example", "10.0.0.4:7860", False),
        ("https://elsewhere.example", "localhost:7860", False),
        ("null", "localhost:7860", False),
        ("http://localhost:x", "localhost:7860", False),
    ],
)
def test_only_own_pages_are_answered(origin: str, host: str, allowed: bool) -> None:
    rule = host_rule("0.0.0.0", space="me-prism.hf.space")
    headers = {"host": host, "origin": origin}
    assert (rule.problem(headers) == "") is allowed
    assert rule.problem({"host": host}) == ""  # a program, or a page that is opened


def test_a_school_compares_together_and_a_script_leaves_room(house: House) -> None:
    join = "/gradio_api/queue/join"
    school, other = house.visitor(), house.visitor("203.0.113.9")
    for _ in range(30):  # thirty pupils behind one address
        assert school.post(join, json={}).status_code == 200
        house.waiting.append({CLIENT_KEY: house.name("198.51.100.7")})
    while school.post(join, json={}).status_code == 200:  # a script takes all it can get
        house.waiting.append({CLIENT_KEY: house.name("198.51.100.7")})
    assert len(house.waiting) == 40 < house.rules.quotas.queue == 160
    refused = school.post("/gradio_api/call/compare", json={})
    assert refused.status_code == 503 and "40 requests from your address" in refused.text
    assert other.post(join, json={}).status_code == 200
    last = house.rules.log.refusals()[0]
    assert (last.client, last.what) == (house.name("198.51.100.7"), "queue")
    house.rules.quotas = quotas_of(public=True, room=100)
    assert school.post(join, json={}).status_code == 200  # a teacher's room raises it


def test_uploads_are_counted_by_the_byte(house: House) -> None:
    house.rules.quotas = replace(quotas_of(public=True), upload_bytes=1_000, all_upload_bytes=1_500)
    mine, other = house.visitor(), house.visitor("203.0.113.9")
    upload = "/gradio_api/upload"
    assert mine.post(upload, content=b"x" * 600).text == "600"
    refused = mine.post(upload, content=iter([b"x" * 300, b"x" * 300]))  # no length is given
    assert refused.status_code == 413 and "from your address in an hour" in refused.text
    assert other.post(upload, content=b"x" * 600).status_code == 200
    assert "to this copy in an hour" in other.post(upload, content=b"x" * 400).text
    long = mine.post("/gradio_api/run/predict", content=b"x" * (MAX_BODY_BYTES + 1))
    assert long.status_code == 413


def test_passwords_cannot_be_tried_without_end(house: House) -> None:
    house.rules.quotas = replace(house.rules.quotas, failed_logins=10)
    guesser, other = house.visitor(), house.visitor("203.0.113.9")
    answers = [guesser.post("/login", content=b"guess").status_code for _ in range(12)]
    assert answers == [400] * 10 + [429] * 2
    assert guesser.post("/login", content=b"right").status_code == 429
    assert other.post("/login", content=b"right").status_code == 200
    assert guesser.get("/").status_code == 200  # the page itself stays


def test_a_blocked_client_is_told_so_and_stays_blocked(house: House, tmp_path: Path) -> None:
    visitor = house.visitor()
    house.rules.blocks.set(house.name("198.51.100.7"), blocked=True)
    assert visitor.get("/").status_code == 403
    assert house.visitor("203.0.113.9").get("/").status_code == 200
    again = BlockList(tmp_path / "blocked.json")
    assert again.all() == [house.name("198.51.100.7")]
    again.set(house.name("198.51.100.7"), blocked=False)
    assert BlockList(tmp_path / "blocked.json").all() == []
    (tmp_path / "blocked.json").write_text("{")
    with pytest.raises(StorageError, match="is broken"):
        BlockList(tmp_path / "blocked.json")


@pytest.mark.parametrize(
    "path", ["/gradio_api/deep_link?session_hash=a", "/monitoring", "/dev/reload"]
)
def test_what_has_no_use_here_is_closed(house: House, path: str) -> None:
    assert house.visitor().get(path).status_code == 404


def test_open_pages_are_counted(house: House) -> None:
    name = house.name("198.51.100.7")
    house.rules.pages[name] = 120  # four for each of thirty people
    assert house.visitor().get("/gradio_api/heartbeat/abc").status_code == 429
    house.rules.pages[name] = 119
    assert house.visitor().get("/gradio_api/heartbeat/abc").status_code == 200
    assert house.rules.pages[name] == 119 and not house.rules.sessions.pages  # it was closed again


def test_the_log_holds_no_question_and_no_address(house: House, tmp_path: Path) -> None:
    secret = "what is my illness"
    visitor = house.visitor()
    visitor.post(f"/gradio_api/queue/join?q={secret}", json={"data": [secret]})
    visitor.get("/", headers={"host": "evil.example"})
    lines = (tmp_path / "logs" / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [one["event"] for one in events] == ["request", "refused"]
    assert events[0]["client"] == house.name("198.51.100.7")
    assert "illness" not in str(events) and "198.51.100" not in str(events)


def test_clients_are_told_apart_by_what_they_cannot_invent() -> None:
    clients = Clients("secret")

    def name(host: str) -> str:
        return clients.name({"client": (host, 1)})

    assert name("198.51.100.7") == name("::ffff:198.51.100.7") != name("198.51.100.8")
    assert name("2001:db8:1:2::1") == name("2001:db8:1:2:ffff::9") != name("2001:db8:1:3::1")
    assert Clients("other").name({"client": ("198.51.100.7", 1)}) != name("198.51.100.7")
    login = {"session": {"oauth_info": {"userinfo": {"sub": "ann"}}}}
    here, there = ({"client": (host, 1), **login} for host in ("198.51.100.7", "203.0.113.9"))
    assert clients.name(here) == name("198.51.100.7")  # a session that anybody can sign
    space = Clients("secret", trusts_logins=True)
    assert space.name(here) == space.name(there) != name("198.51.100.7")


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "seen"),
    [
        ("", "127.0.0.1", "9.9.9.9", "127.0.0.1"),  # nobody was named: an own machine as well
        ("10.1.0.1", "10.1.0.1", "9.9.9.9", "9.9.9.9"),
        ("10.1.0.1", "10.1.0.2", "9.9.9.9", "10.1.0.2"),
        (SPACE_PROXIES, "10.16.4.4", "1.2.3.4, 9.9.9.9, 10.0.3.3", "9.9.9.9"),  # 1.2.3.4 is made up
    ],
)
def test_a_forwarded_address_counts_from_named_proxies_alone(
    house: House, trusted: str, peer: str, forwarded: str, seen: str
) -> None:
    house.app = ProxyHeadersMiddleware(house.app, trusted)  # as uvicorn puts it in front
    house.visitor(peer).get("/", headers={"host": "evil.example", "x-forwarded-for": forwarded})
    assert house.rules.log.refusals()[0].client == house.name(seen)


def test_a_visit_keeps_what_differs_from_the_page() -> None:
    with gr.Blocks() as page:
        box, state = gr.Textbox("same for all"), gr.State([1])
    sessions = Sessions(capacity=2)
    sessions.set_blocks(page)
    one, two = sessions["one"], sessions["two"]
    assert isinstance(one, LeanSession) and not one.config_values
    one[box._id] = gr.Textbox("mine")
    one[state._id] = [2]
    assert (one[box._id].value, two[box._id].value) == ("mine", "same for all")
    assert (one[state._id], two[state._id]) == ([2], [1])
    assert not one.config_values  # nothing is written down twice
    sessions.pages["one"] = 1  # its page is open
    for session in ("three", "four"):
        sessions[session]
    assert set(sessions.session_data) == {"one", "three", "four"}  # two was the oldest of three
    assert sessions["one"] is one


def test_a_closed_visit_is_forgotten_after_an_hour() -> None:
    with gr.Blocks() as page:
        gr.State([1])
    sessions = Sessions()
    sessions.set_blocks(page)
    for session in ("open", "closed", "new"):
        sessions[session]
    sessions.pages["open"] = 1
    for session in ("open", "closed"):
        sessions.time_last_used[session] = sessions.time_last_used[session].replace(year=2000)
    sessions.delete_all_expired_state()
    assert set(sessions.session_data) == {"open", "new"}


def test_what_was_spent_comes_back_with_time() -> None:
    clock = [0.0]
    spent = Spent(60.0, now=lambda: clock[0])
    spent.add("a", 5)
    clock[0] = 30
    spent.add("a", 7)
    assert (spent.of("a"), spent.of("b"), spent.of_all()) == (12, 0, 12)
    clock[0] = 61
    assert spent.of("a") == 7
    clock[0] = 91
    assert spent.of_all() == 0


def test_strangers_make_a_copy_public() -> None:
    assert not read_settings({}).public
    assert read_settings({}, exposed=True).public
    assert read_settings({"SPACE_ID": "me/prism"}).public
    assert not read_settings({"SPACE_ID": "me/prism"}, exposed=True, trusted=True).public
    assert read_settings({"PRISM_PUBLIC": "1"}, trusted=True).public  # said so in so many words


def test_passwords_come_from_the_environment_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse([], {"PRISM_AUTH": "ann:a:b"}).auth == {"ann": "a:b"}
    file = tmp_path / "users"
    file.write_text("ann:one\n\nbob:two\n")
    users = parse(["--auth", f"@{file}"], {}).auth
    is_right = login_of(users)
    assert is_right is not None and is_right("bob", "two")
    assert not is_right("bob", "one") and not is_right("eve", "") and login_of(None) is None
    for arguments, line in (
        (["--auth", f"@{tmp_path}/none"], "cannot be read"),
        (["--auth", "ann:one", "--mcp"], "choose one of the two"),
        (["--room", "-3"], "'-3' is not a number of people"),
    ):
        with pytest.raises(SystemExit):
            parse(arguments, {})
        assert line in capsys.readouterr().err


def test_a_space_is_reached_from_outside() -> None:
    assert parse([], {}).host == "127.0.0.1"
    assert parse([], {"SPACE_ID": "me/prism"}).host == "0.0.0.0"
    assert parse([], {"SPACE_ID": "me/prism", "GRADIO_SERVER_NAME": "::"}).host == "::"
    options = parse(["--proxy", "10.0.0.1"], {"PRISM_PROXIES": "10.1.0.0/16, 10.2.0.1"})
    assert options.proxy == ["10.1.0.0/16", "10.2.0.1", "10.0.0.1"]
