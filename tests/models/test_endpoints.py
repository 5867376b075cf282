"""Endpoints with names: the ready-made ones, the file, references, and keys that stay secret."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from prism_core.errors import InputError, NotFoundError
from prism_core.models.buying.pace import Pace
from prism_core.models.remote import RemoteGenerator
from prism_core.models.remote.catalogue import (
    READY_MADE,
    find_endpoint,
    load_endpoints,
    parse_endpoints,
    save_endpoint,
    to_yaml,
)
from prism_core.models.remote.endpoint import Endpoint, Limits, Price, check_endpoint, read_key
from prism_core.models.sources import open_model, split_remote
from prism_core.types import Message, Sampling

KEY = "sk-very-secret-0123456789"
FILE = """\
openai:
  concurrency: 16
  prices:
    some-model: {input: 1.5, output: 6, date: 2026-11-25, source: "https://example.org/prices"}
cluster:
  base_url: http://10.0.0.7:8000/v1
  key_variable: CLUSTER_KEY
  limits: {requests_per_minute: 60}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PRISM_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("PRISM_ENDPOINTS", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("openai:gpt-x", ("openai", "gpt-x")),
        ("ollama:llama3:8b", ("ollama", "llama3:8b")),
        ("huggingface:org/name:provider", ("huggingface", "org/name:provider")),
        ("remote:m", ("remote", "m")),
        ("remote:", ("remote", "")),
        ("embedded", None),
        ("hub:org/name", None),
        ("org/name", None),
        ("C:\\models\\x.gguf", None),
        ("/tmp/a:b", None),
        ("./vllm:x", None),
    ],
)
def test_a_reference_is_split_at_the_first_colon(reference, parts):
    assert split_remote(reference) == parts


def test_ten_usual_services_are_ready_made(home):
    assert len(READY_MADE) == 10
    assert load_endpoints() == dict(READY_MADE)
    assert all(check_endpoint(one) and not one.prices for one in READY_MADE.values())


def test_the_file_changes_and_adds(home):
    (home / "endpoints.yaml").write_text(FILE)
    openai, cluster = find_endpoint("openai"), find_endpoint("cluster")
    assert (openai.concurrency, openai.base_url) == (16, READY_MADE["openai"].base_url)
    assert openai.prices["some-model"] == Price(
        1.5, 6.0, date="2026-11-25", source="https://example.org/prices"
    )
    assert cluster == Endpoint(
        "cluster", "http://10.0.0.7:8000/v1", "CLUSTER_KEY", limits=Limits(requests_per_minute=60)
    )
    with pytest.raises(NotFoundError, match=r"no endpoint 'clutser'; there are openai, .*cluster"):
        find_endpoint("clutser")


def test_another_file_can_be_named(home, monkeypatch):
    monkeypatch.setenv("PRISM_ENDPOINTS", str(home / "mine.yaml"))
    with pytest.raises(NotFoundError, match=r"mine\.yaml', which PRISM_ENDPOINTS names"):
        load_endpoints()
    (home / "mine.yaml").write_text(FILE)
    assert "cluster" in load_endpoints()


def test_what_is_saved_is_read_back(home):
    (home / "endpoints.yaml").write_text(FILE)
    mine = Endpoint("mine", "https://host/v1", "MINE", prices={"m": Price(1, 2)}, retries=7)
    save_endpoint(mine)
    found = load_endpoints()
    assert found["mine"] == mine
    assert found["openai"].concurrency == 16 and found["cluster"].key_variable == "CLUSTER_KEY"
    assert parse_endpoints(to_yaml(found)) == found
    assert list(home.glob("*.partial")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("remote: {base_url: 'http://h/v1'}", "'remote' cannot name an endpoint: it is reserved"),
        ("hub: {base_url: 'http://h/v1'}", "reserved"),
        ("x: {base_url: 'http://h/v1'}", "'x' cannot name an endpoint; use 2 to 40"),
        ("Mine: {base_url: 'http://h/v1'}", "'Mine' cannot name"),
        ("mine: {concurrency: 2}", "base_url"),
        ("mine: {base_url: host}", "'host' is no address"),
        ("mine: {base_url: 'http://h:port/v1'}", "is no address"),
        ("mine: {base_url: 'http://h/v1', concurrency: 0}", "concurrency"),
        ("mine: {base_url: 'http://h/v1', name: other}", "twice"),
        ("mine: [1]", "must be a mapping"),
        ("- mine", "one YAML mapping"),
        ("mine: {base_url: 'http://h/v1', prices: {m: {input: -1, output: 2}}}", "-1"),
        ("mine: {base_url: 'http://h/v1', prices: {m: {input: 1, output: 2, date: May}}}", "May"),
    ],
)
def test_what_the_file_cannot_say_is_quoted(text, said):
    with pytest.raises(InputError) as error:
        parse_endpoints(text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        f"mine: {{base_url: 'http://h/v1', key_variable: {KEY}}}",
        "mine: {base_url: 'http://h/v1', key_variable: hf_verysecret0123456789}",
        f"mine: {{base_url: 'http://h/v1', key: {KEY}}}",
        f"mine: {{base_url: 'http://user:{KEY}@h/v1'}}",
        f"mine: {{base_url: 'http://h/v1?key={KEY}'}}",
    ],
)
def test_a_key_in_the_file_is_refused_and_never_quoted(text):
    with pytest.raises(InputError) as error:
        parse_endpoints(text)
    assert "secret" not in str(error.value)


def test_the_key_is_read_from_the_environment_alone(monkeypatch):
    endpoint = Endpoint("mine", "https://h/v1", "MINE_KEY")
    monkeypatch.delenv("MINE_KEY", raising=False)
    assert read_key(endpoint) == "" and not endpoint.has_key
    monkeypatch.setenv("MINE_KEY", f" {KEY}\n")
    assert read_key(endpoint) == KEY and endpoint.has_key
    assert KEY not in repr(endpoint) + to_yaml({"mine": endpoint})
    monkeypatch.setenv("MINE_KEY", f"{KEY} {KEY}")
    with pytest.raises(InputError) as error:
        read_key(endpoint)
    assert KEY not in str(error.value)


def test_models_of_several_endpoints_are_told_apart(home, monkeypatch):
    monkeypatch.setenv("PRISM_REMOTE_URL", "http://127.0.0.1:9/v1")
    models = [open_model(f"{name}:m") for name in ("remote", "vllm", "ollama")]
    assert len({model.fingerprint for model in models}) == 3
    with pytest.raises(InputError, match="model's name at the endpoint 'vllm' is empty"):
        open_model("vllm:")
    with pytest.raises(NotFoundError, match="no endpoint 'nowhere'"):
        open_model("nowhere:m")


def test_a_public_copy_asks_only_what_its_operator_lists(home, monkeypatch):
    monkeypatch.setenv("PRISM_PUBLIC", "1")
    monkeypatch.setenv("PRISM_MODEL_ALLOWLIST", "org/name, ollama:llama3:8b")
    assert open_model("ollama:llama3:8b").name == "llama3:8b"
    with pytest.raises(InputError, match=r"'ollama:other' cannot be loaded here.*ollama:llama3:8b"):
        open_model("ollama:other")


def test_an_answer_longer_than_the_endpoint_allows_is_refused_before_it_is_bought():
    endpoint = Endpoint("mine", "http://127.0.0.1:9/v1", limits=Limits(answer_tokens=100))
    with pytest.raises(InputError, match=r"up to 101 tokens .* 'mine' allows 100"):
        RemoteGenerator(endpoint, "m").stream([(Message("user", "x"),)], Sampling(101))


def test_requests_of_a_pace_are_spread_over_the_minute():
    pace, asked = Pace(8, per_minute=1200), []  # one in 50 ms
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: pace.call(lambda: asked.append(time.monotonic())), range(5)))
    assert asked[-1] - asked[0] >= 4 * 0.05
