"""What services do, documented case by case: each ends in a result or in one true sentence.

Every case runs three questions through a dealer, as a study does, and the mock's counts show that
no answer was paid twice.
"""

import threading
from dataclasses import dataclass, replace

import pytest
from support import strict_service as mock
from support.strict_service import Rules, strict_service

from prism_core.errors import CancelledError, ModelError, PassingError, RemoteError
from prism_core.models.buying import pace as pacing
from prism_core.models.buying.dealer import Dealer
from prism_core.models.buying.ledger import Ledger
from prism_core.models.buying.pace import Pace
from prism_core.models.remote import Endpoint, RemoteGenerator
from prism_core.models.remote.client import Client
from prism_core.models.remote.probe import Probe
from prism_core.storage import Store
from prism_core.types import Message, Sampling

KEY = "sk-very-secret-0123456789"
QUESTIONS = ("one?", "two?", "three?")
WARM = Sampling(max_new_tokens=8, temperature=0.7)
FINE = "Fine answer."
_MOST = 3
"""How often a request may be sent: once, and two repeats."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    home = tmp_path_factory.mktemp("services")
    with Store(f"sqlite:///{home}/run.sqlite3", home=home) as opened:
        yield opened


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(pacing, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("MOCK_KEY", KEY)


def model_at(service, store, timeout=5.0):
    endpoint = Endpoint("mock", service.url, "MOCK_KEY", retries=0, timeout=timeout)
    model = RemoteGenerator(endpoint, "m")
    run = store.create_run("study", "mock", {})
    model.dealer = Dealer(Pace(4, retries=_MOST - 1), Ledger(store, run.id, {}), "mock:m")
    return model


def ask(text):
    return (Message("system", "Be brief."), Message("user", text))


@dataclass(frozen=True)
class Case:
    """One behaviour and how it must end."""

    name: str
    rules: Rules
    text: str = FINE
    """What every answer must be, where there is a result."""
    said: str = ""
    """What the sentence must hold, where there is none."""
    finish: str = "stop"
    refused: tuple[str, ...] = ()
    """What must be remembered as refused."""
    sampling: Sampling = WARM
    asked: int | None = None
    """How many chat requests there must have been; None where chance has a part in it."""
    timeout: float = 5.0


FILTERED = mock.failing(400, "The response was filtered")
COOL = replace(WARM, top_p=0.9)
CASES = (
    Case("plain", Rules(), asked=3),
    Case("a key", Rules(key=KEY), asked=3),
    Case("top_p that is not 1", Rules(), sampling=COOL, asked=3),
    # parameters
    Case("no temperature", Rules(refuses=("temperature",)), refused=("temperature",)),
    Case("no top_p", Rules(refuses=("top_p",)), refused=("top_p",), sampling=COOL),
    Case("no seed", Rules(refuses=("seed",), refusal="pydantic"), refused=("seed",)),
    Case(
        "no stream_options",
        Rules(refuses=("stream_options",), refusal="fastapi", usage="always"),
        refused=("stream_options",),
    ),
    Case("the newer cap", Rules(newer_cap=True), refused=("max_tokens",)),
    Case(
        "a reasoning model of OpenAI",
        Rules(newer_cap=True, refuses=("temperature", "top_p"), thinks="hidden"),
        refused=("max_tokens", "temperature", "top_p"),
        sampling=COOL,
    ),
    Case("temperature or top_p", Rules(one_of_temperature=True), refused=("top_p",), sampling=COOL),
    Case(
        "nothing but messages",
        Rules(refuses=("temperature", "seed", "stream_options"), refusal="fastapi", usage="always"),
        refused=("stream_options", "seed", "temperature"),
    ),
    Case(
        "top_k was asked for and is not there",
        Rules(refuses=("top_k",)),
        sampling=replace(WARM, top_k=5),
        said="refused the request: Unsupported value: 'top_k'",
        asked=None,
    ),
    Case(
        "too hot",
        Rules(hottest=1.0),
        sampling=replace(WARM, temperature=1.5),
        said="refused the request: temperature: must be in the range 0..1.0",
    ),
    # refusals
    Case("a wrong key", Rules(key="another"), said="refused the key. Check MOCK_KEY. It said"),
    Case("forbidden", Rules(always=mock.failing(403, "no access")), said="refused the key"),
    Case("no credit", Rules(always=mock.failing(402, "Buy more")), said="no credit left: Buy more"),
    Case(
        "quota used up",
        Rules(always=mock.failing(429, "You exceeded: insufficient_quota")),
        said="no credit left: You exceeded",
    ),
    Case("another model", Rules(model="n"), said="does not know the model 'm'"),
    Case(
        "a wrong address",
        Rules(always=mock.replying("<h1>Not found</h1>", 404, "text/html")),
        said="is not its API address",
    ),
    Case(
        "Ollama's form of an error",
        Rules(always=mock.replying({"error": "model 'm' not found, try pulling it"}, 404)),
        said="It said: model 'm' not found, try pulling it",
    ),
    Case(
        "Gemini's form of an error",
        Rules(
            always=mock.replying([{"error": {"code": 400, "message": "API key not valid"}}], 400)
        ),
        said="refused the request: API key not valid",
    ),
    Case(
        "too long",
        Rules(always=mock.failing(400, "maximum context length is 4096 tokens")),
        said="refused the request: maximum context length is 4096 tokens",
    ),
    Case("not there yet", Rules(always=mock.failing(501, "chat is off")), said="chat is off"),
    # what passes
    Case("a 429 storm", Rules(troubles=(mock.failing(429, retry_after="0.05"),) * 5), asked=8),
    Case("429 in milliseconds", Rules(troubles=(mock.failing(429, retry_after_ms="9"),)), asked=4),
    Case("500, then success", Rules(troubles=(mock.failing(500),) * 2), asked=5),
    Case("503, then success", Rules(troubles=(mock.failing(503),) * 3), asked=6),
    Case("overloaded, then success", Rules(troubles=(mock.failing(529),)), asked=4),
    Case("502 in HTML", Rules(troubles=(mock.replying("<p>", 502, "text/html"),)), asked=4),
    Case(
        "500 for ever",
        Rules(always=mock.failing(500, "out of memory")),
        said="failed with status 500: out of memory It was asked 3 times.",
    ),
    Case("hung up, then success", Rules(troubles=(mock.hanging_up,)), asked=4),
    Case("hung up for ever", Rules(always=mock.hanging_up), said="closed the connection"),
    Case("broke off, then success", Rules(troubles=(mock.breaking_off,)), asked=4),
    Case("breaks off for ever", Rules(always=mock.breaking_off), said="broke off in the middle"),
    Case("broke off after the end", Rules(always=mock.breaking_off_after_the_end), asked=3),
    # time
    Case("a slow first byte", Rules(troubles=(mock.silent(0.3),)), timeout=1.0, asked=3),
    Case(
        "no first byte",
        Rules(always=mock.silent(0.6)),
        timeout=0.2,
        said="did not answer in time (0.2 s)",
    ),
    Case(
        "silence in the middle",
        Rules(always=mock.silent(0.6, begin=True)),
        timeout=0.2,
        said="did not answer in time (0.2 s)",
    ),
    # other shapes
    Case("events called plain text", Rules(kind="text/plain"), asked=3),
    Case("whole though streamed", Rules(send="whole"), asked=3),
    Case(
        "a login page",
        Rules(always=mock.replying("<html>Please log in</html>", kind="text/html")),
        said="does not speak the OpenAI protocol here; it sent: <html>Please log in</html>",
    ),
    Case(
        "another API's JSON",
        Rules(always=mock.replying({"response": "Fine", "done": True})),
        said="sent no answer",
    ),
    Case(
        "an error with status 200",
        Rules(always=mock.replying({"error": {"message": "Provider returned error"}})),
        said="broke off: Provider returned error",
    ),
    Case(
        "an error within the stream",
        Rules(always=mock.sending('{"error": {"message": "CUDA out of memory"}}')),
        said="broke off: CUDA out of memory",
    ),
    Case("no JSON", Rules(always=mock.sending("<html>")), said="OpenAI protocol here; it sent"),
    Case("a number", Rules(always=mock.sending("5")), said="OpenAI protocol here; it sent: 5"),
    Case(
        "content that is no text",
        Rules(always=mock.sending('{"choices": [{"delta": {"content": 5}}]}')),
        said="OpenAI protocol here; it sent",
    ),
    Case("empty choices", Rules(always=mock.sending('{"choices": []}')), said="sent no answer"),
    Case("choices of null", Rules(always=mock.sending('{"choices": null}')), said="sent no answer"),
    Case("never says why it ended", Rules(finish=None), asked=3),
    Case("an ending of its own", Rules(finish="eos_token"), asked=3),
    Case("cut at the limit", Rules(finish="length"), finish="length", asked=3),
    Case("usage is missing", Rules(usage="never"), asked=3),
    Case("nothing said", Rules(deltas=()), text="", asked=3),
    # filters
    Case("filtered in the middle", Rules(finish="content_filter"), finish="filtered", asked=3),
    Case(
        "filtered before",
        Rules(
            always=mock.replying(
                {"error": {"message": "filtered", "code": "content_filter"}}, status=400
            )
        ),
        text="",
        finish="filtered",
        asked=3,
    ),
    Case(
        "a refusal in its own field",
        Rules(deltas=({"refusal": "I cannot help with that."},)),
        text="I cannot help with that.",
        asked=3,
    ),
    # thoughts
    Case("thinks in reasoning_content", Rules(thinks="reasoning_content"), asked=3),
    Case("thinks in reasoning", Rules(thinks="reasoning"), asked=3),
    Case(
        "thinks in tags",
        Rules(deltas=({"content": "<think>Hmm.</th"}, {"content": "ink>\n\nFine answer."})),
        asked=3,
    ),
    Case(
        "content in parts",
        Rules(deltas=({"content": [{"type": "text", "text": "Fine answer."}]},)),
        asked=3,
    ),
)


def test_there_are_at_least_forty_cases():
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_ends_in_a_result_or_a_true_sentence(case, store):
    with strict_service(case.rules) as service:
        model = model_at(service, store, case.timeout)
        prompts, seeds = [ask(text) for text in QUESTIONS], [2**40 + 1, 2**62 - 1, 0]
        if case.said:
            with pytest.raises(RemoteError) as error:
                model.generate(prompts, case.sampling, seeds)
            assert case.said in str(error.value)
            assert str(error.value).startswith("127.0.0.1 ")
            assert KEY not in str(error.value)
            # A traceback would print what was said.
            assert error.value.__suppress_context__ or error.value.__context__ is None
        else:
            answers = model.generate(prompts, case.sampling, seeds)
            assert [a.text for a in answers] == [case.text] * 3
            assert {a.finish for a in answers} == {case.finish}
            assert set(model.client.dialect.refused) == set(case.refused)
            assert sum(service.paid.values()) <= 3
        assert all(times == 1 for times in service.paid.values())
        most = 3 * (_MOST + len(case.refused) + len(case.rules.troubles))
        assert sum(service.asked.values()) <= most
        if case.asked is not None:
            assert sum(service.asked.values()) == case.asked


def test_what_was_refused_once_is_not_sent_again(store):
    with strict_service(Rules(newer_cap=True, refuses=("temperature", "seed"))) as service:
        model = model_at(service, store)
        model.generate([ask("first?")], WARM)
        lessons = len(service.bodies) - 1
        model.generate([ask(f"{i}?") for i in range(6)], WARM)
        assert lessons == 3 and len(service.bodies) == 10
        assert all("seed" not in body for body in service.bodies[4:])


def test_tokens_and_thoughts_are_the_providers_count(store):
    with strict_service(Rules(thinks="reasoning_content")) as service:
        (answer,) = model_at(service, store).generate([ask("one?")], WARM)
    assert (answer.thought, answer.text) == ("Hmm.", FINE)
    assert (answer.prompt_tokens, answer.tokens, answer.reasoning_tokens) == (11, 7, 5)


def test_a_stopped_storm_ends_at_once(store):
    cancel = threading.Event()
    with strict_service(Rules(always=mock.failing(429, retry_after="30"))) as service:
        model = model_at(service, store)
        threading.Timer(0.3, cancel.set).start()
        (answer,) = model.generate([ask("one?")], WARM, cancel=cancel)
        assert answer.finish == "cancelled"
        with pytest.raises(CancelledError):
            model.probe(cancel)
        assert sum(service.asked.values()) == 1


# given text


@pytest.mark.parametrize("status", [404, 405, 501])
def test_no_completions_means_that_given_text_cannot_be_scored(status, store):
    with strict_service(Rules(completions=status)) as service:
        model = model_at(service, store)
        with pytest.raises(ModelError, match=r"^127.0.0.1 cannot score given text") as error:
            model.score_choices([ask("one?")], [["a", "b"]])
        assert "does not know the model" not in str(error.value)
        with pytest.raises(RemoteError, match=rf"cannot score given text: .* status {status}"):
            model.client.post("/completions", {}, "score given text")


@pytest.mark.parametrize("given", ["zeros", "generated"])
def test_nonsense_for_given_text_is_found_by_a_text_that_everybody_knows(given, store):
    with strict_service(Rules(given=given)) as service:
        probe = model_at(service, store).probe()
    assert probe.prompt_logprobs == "none"
    assert any("They are not used" in note or "they are not used" in note for note in probe.notes)


@pytest.mark.parametrize(("given", "route"), [("chat", "chat"), ("true", "completions")])
def test_given_text_is_scored_where_the_probe_found_how(given, route, store):
    with strict_service(Rules(given=given)) as service:
        model = model_at(service, store)
        rows = model.score_choices([ask("Capital of France?")], [["Paris", "Rome"]])
        assert model.probe().prompt_logprobs == route
    assert [score.logprob for score in rows[0]] == [-0.5, -2.0]


# what the probe finds

PROFILES = {
    "openai": (Rules(tops=20, several=True), {"top_logprobs": 20, "several": True}),
    "openai, reasoning": (
        Rules(newer_cap=True, refuses=("temperature", "top_p", "logprobs"), thinks="hidden"),
        {"refused": ("max_tokens", "top_p", "temperature"), "reasons": True},
    ),
    "anthropic": (Rules(one_of_temperature=True), {"refused": ("top_p",)}),
    "gemini": (
        Rules(refuses=("seed",), tops=5, several=True),
        {"refused": ("seed",), "top_logprobs": 20, "several": True},
    ),
    "openrouter": (Rules(thinks="reasoning"), {"reasons": True}),
    "vllm": (
        Rules(tops=20, several=True, given="chat"),
        {"prompt_logprobs": "chat", "top_logprobs": 20, "several": True},
    ),
    "ollama": (Rules(completions=404, usage="always"), {"usage": True}),
    "llama.cpp": (Rules(tops=20, given="generated"), {"top_logprobs": 20}),
    "old transformers": (
        Rules(refuses=("stream_options", "n", "logprobs"), refusal="fastapi", usage="always"),
        {"refused": ("stream_options",)},
    ),
    "without counts": (Rules(usage="never"), {"usage": False}),
}


@pytest.mark.parametrize("name", PROFILES)
def test_the_probe_finds_what_a_service_does(name, store):
    rules, expected = PROFILES[name]
    with strict_service(rules) as service:
        model = model_at(service, store)
        probe = model.probe()
        first = len(service.bodies)
        assert model.probe() is probe and len(service.bodies) == first  # found out once
    usual = Probe("mock", "m", usage=True)
    for field in ("refused", "top_logprobs", "prompt_logprobs", "several", "usage", "reasons"):
        found, wanted = getattr(probe, field), expected.get(field, getattr(usual, field))
        if field == "refused":
            found, wanted = set(found), set(wanted)
        assert found == wanted, field
    assert "m at mock answers" in probe.sentence
    assert probe.requests <= 9


def test_a_probe_of_nobody_says_so(store):
    with (
        strict_service(Rules(key="another")) as service,
        pytest.raises(RemoteError, match=r"refused the key\. Check MOCK_KEY"),
    ):
        model_at(service, store).probe()
    with pytest.raises(PassingError, match=r"base_url of 'mock' \(http://127.0.0.1"):
        RemoteGenerator(Endpoint("mock", service.url, retries=0), "m").probe()


def test_what_an_earlier_probe_found_is_not_asked_again(store):
    with strict_service(Rules(newer_cap=True, tops=20)) as service:
        probe = model_at(service, store).probe()
        again = model_at(service, store)
        again.remember(probe)
        before = len(service.bodies)
        again.generate([ask("one?")], WARM)
        (tops,) = again.first_tokens([ask("which?")])
        assert len(service.bodies) == before + 2
    assert tops == {"A": -0.3, " B": -1.6, "C": -3.0, "The": -4.0}


def test_the_models_of_an_endpoint_are_listed():
    with strict_service(Rules(key=KEY)) as service:
        assert Client(Endpoint("mock", service.url, "MOCK_KEY")).models() == ["another", "m"]
