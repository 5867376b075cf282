"""The app as programs meet it: gradio_client, MCP, a password, a public deployment."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Browser, expect
from support.browser import start_app, stop_app

from app.services.quotas import quotas_of

pytestmark = pytest.mark.browser  # needs the served app


@pytest.fixture(scope="module")
def client(app_url: str) -> Client:
    return Client(app_url, verbose=False)


def test_only_documented_functions_are_public(client: Client) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) >= {"/compare", "/judge", "/personas", "/models"}
    hidden = [name for name in named if name.split("_")[0] in ("/start", "/run", "/stop", "/cast")]
    assert hidden == []


def test_results_have_types(client: Client) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    for name in ("/compare", "/judge", "/personas", "/models"):
        [result] = named[name]["returns"]
        assert "Any" not in result["python_type"]["type"]
    assert "text: str, tokens: int" in named["/compare"]["returns"][0]["python_type"]["type"]


def test_compare_judge_and_lists(client: Client) -> None:
    models = client.predict(api_name="/models")
    assert models[0]["reference"] == "embedded"
    personas = client.predict(api_name="/personas")
    assert {"math", "critic", "neutral_text"} <= {p["name"] for p in personas}
    result = client.predict(
        question="What is 2 + 2?",
        persona="math",
        arms=["neutral", "persona", "prism"],
        max_new_tokens=8,
        temperature=0,
        api_name="/compare",
    )
    arms = {a["arm"]: a for a in result["arms"]}
    assert list(arms) == ["neutral", "persona", "prism"]
    assert 1 <= arms["persona"]["tokens"] <= 8
    assert "Train an adapter first" in arms["prism"]["note"]
    verdict = client.predict(
        question="What is 2 + 2?",
        persona_answer=arms["persona"]["text"],
        neutral_answer=arms["neutral"]["text"],
        api_name="/judge",
    )
    both = verdict["persona_first"] > 0.5, verdict["persona_second"] > 0.5
    assert verdict["consistent"] == (both[0] == both[1])
    assert (verdict["winner"] == "persona") == all(both)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"question": "  "}, "The question is empty"),
        ({"persona": "nobody"}, "There is no persona 'nobody'"),
        ({"max_new_tokens": 10**9}, "from 1 to 1,024"),
        ({"arms": ["oracle"]}, "'oracle'"),
        ({"model": "/etc/passwd"}, "/etc/passwd"),
    ],
)
def test_mistakes_end_in_a_sentence(
    client: Client, change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(AppError, match=sentence):
        client.predict(**{"question": "Hi", **change}, api_name="/compare")


@pytest.fixture(scope="module")
def public_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An app of its own: a public copy with MCP, whose queue may be filled."""
    home = tmp_path_factory.mktemp("public")
    url, process = start_app(
        home / "log",
        "--mcp",
        PRISM_PUBLIC="1",
        PRISM_MODEL_ALLOWLIST="org/listed",
        PRISM_DATA_HOME=str(home / "data"),
    )
    yield url
    stop_app(process)


def test_mcp_and_public_limits(public_url: str, tmp_path: Path) -> None:
    with urllib.request.urlopen(f"{public_url}/gradio_api/mcp/schema", timeout=20) as answer:
        tools = {tool["name"].removeprefix("prism_studio_") for tool in json.load(answer)}
    assert {"compare", "judge", "personas", "models"} <= tools
    client = Client(public_url, verbose=False)
    offered = [m["reference"] for m in client.predict(api_name="/models")]
    assert offered == ["embedded", "org/listed"]
    for change, sentence in (
        ({"max_new_tokens": 257}, "from 1 to 256"),
        ({"model": "org/other"}, "cannot be used here"),
        ({"model": str(tmp_path)}, "cannot be used here"),
    ):
        with pytest.raises(AppError, match=sentence):
            client.predict(question="Hi", **change, api_name="/compare")
    for changed, sentence in (
        ({"model": "org/other"}, "cannot be used here"),
        ({"neutral_answer": "x" * 8_001}, "The neutral answer has 8,001 characters"),
        ({"question": "x" * 8_001}, "The question has 8,001 characters"),
    ):
        fair = {"question": "Hi", "persona_answer": "Ahoy", "neutral_answer": "Hello"}
        with pytest.raises(AppError, match=sentence):
            client.predict(**{**fair, **changed}, api_name="/judge")


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    url, process = start_app(tmp_path / "log", "--auth", "me:secret")
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/config", timeout=20)
        assert refused.value.code == 401
        client = Client(url, auth=("me", "secret"), verbose=False)
        assert client.predict(api_name="/models")[0]["reference"] == "embedded"
    finally:
        stop_app(process)


def test_a_full_queue_is_said_in_the_page(chromium: Browser, public_url: str) -> None:
    client = Client(public_url, verbose=False, max_workers=64)  # all are sent at once
    story = {"question": "Tell a long story.", "max_new_tokens": 256, "api_name": "/compare"}
    jobs = [client.submit(**story) for _ in range(int(quotas_of(public=True).places) + 2)]
    end = time.monotonic() + 60
    while not any(job.done() for job in jobs):  # refused: none can have its answer so soon
        assert time.monotonic() < end
        time.sleep(0.2)
    page = chromium.new_page()
    page.goto(public_url)
    page.locator("#px-question textarea").fill("What is 2 + 2?")
    page.click("#px-run")
    expect(page.locator("#px-status")).to_contain_text(
        "The queue is full: too many requests are waiting already", timeout=30_000
    )
    expect(page.locator("#px-run")).to_be_enabled()  # nothing is lost: press it again later
    expect(page.locator("#px-question textarea")).to_have_value("What is 2 + 2?")
    page.close()
