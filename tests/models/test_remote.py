"""A remote model: against a real `transformers serve`, and against servers that misbehave."""

import itertools
import json
import os
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from support.paths import free_port
from support.transformers_server import transformers_server

from prism_core.errors import CancelledError, InputError, ModelError, RemoteError
from prism_core.models.generator import Generator
from prism_core.models.remote import Endpoint, RemoteGenerator, from_environment
from prism_core.models.sources import EMBEDDED, resolve
from prism_core.models.weights import load_weights
from prism_core.types import Message, Sampling

KEY = "sk-very-secret-0123456789"
SHORT = Sampling(max_new_tokens=8)


def remote_at(url, model="m", **fields):
    """A model behind a URL; its key is in the environment."""
    return RemoteGenerator(Endpoint("remote", url, "PRISM_REMOTE_KEY", **fields), model)


@pytest.fixture(autouse=True, scope="module")
def key():
    os.environ["PRISM_REMOTE_KEY"] = KEY
    yield
    del os.environ["PRISM_REMOTE_KEY"]


def ask(text):
    return (Message("user", text),)


@pytest.fixture(scope="module")
def weights():
    return load_weights(resolve(EMBEDDED), device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with transformers_server(tmp_path_factory.mktemp("serve")) as served:
        yield served


@pytest.fixture(scope="module")
def remote(server):
    url, model = server
    return remote_at(url, model, retries=0)


# a real server


def test_it_is_a_generator(remote):
    assert isinstance(remote, Generator)


def test_greedy_answers_equal_the_model_itself(remote, weights):
    prompts = [ask("What is the capital of France?"), ask("Name a colour.")]
    prompts.append((Message("system", "Answer in one word."), Message("user", "2+2?")))
    completions = remote.generate(prompts, SHORT)
    for prompt, completion in zip(prompts, completions, strict=True):
        messages = [{"role": m.role, "content": m.content} for m in prompt]
        ids = weights.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            output = weights.model.generate(**ids, max_new_tokens=8, do_sample=False)
        new = output[0, ids["input_ids"].shape[1] :]
        assert completion.text == weights.tokenizer.decode(new, skip_special_tokens=True).strip()
        assert completion.prompt_tokens == ids["input_ids"].shape[1]
        assert completion.tokens == len(new)
        assert completion.finish == ("length" if len(new) == 8 else "stop")
        assert 0 < completion.first_token_seconds <= completion.seconds


def test_streams_merge_and_end_as_generate_does(remote):
    prompts = [ask("Count to ten."), ask("What is rain?"), ask("Say hello.")]
    snapshots = list(remote.stream(prompts, SHORT))
    assert len(snapshots) > 4
    for before, after in itertools.pairwise(snapshots):
        assert len(before) == len(after) == 3
        for old, new in zip(before, after, strict=True):
            assert new.text.startswith(old.text.strip()) or old.text.startswith(new.text)
            assert new.finish != "running" or old.finish == "running"
    assert all(c.finish in ("stop", "length") for c in snapshots[-1])
    last = snapshots[-1][2]
    assert remote.generate(prompts[2:], SHORT)[0].text == last.text


def test_sampling_follows_the_seed(remote):
    warm = Sampling(max_new_tokens=8, temperature=2.0)

    def text(seed):
        return remote.generate([ask("Tell a story.")], warm, seed=seed)[0].text

    first = text(1)
    assert text(1) == first
    assert {text(2), text(3)} != {first}


def test_cancel_stops_at_once_and_the_next_question_works(remote):
    cancel, seen = threading.Event(), []
    long = Sampling(max_new_tokens=400)
    for snapshot in remote.stream([ask("Write a long story.")] * 2, long, cancel=cancel):
        seen.append(snapshot)
        if len(seen) == 3:
            cancel.set()
            begin = time.perf_counter()
    assert time.perf_counter() - begin < 1.0
    assert [c.finish for c in seen[-1]] == ["cancelled", "cancelled"]
    assert all(c.tokens < 100 for c in seen[-1])
    assert remote.generate([ask("Say hello.")], SHORT)[0].text


def test_this_server_cannot_score_given_text(remote):
    with pytest.raises(ModelError, match=r"127\.0\.0\.1 cannot score given text"):
        remote.score_choices([ask("Sky colour?")], [["blue", "green"]])


def test_a_probe_finds_what_this_server_does_not_do(remote):
    probe = remote.probe()
    assert (probe.top_logprobs, probe.prompt_logprobs, probe.several) == (0, "none", False)
    assert probe.usage and not probe.reasons and not probe.refused
    assert probe.requests <= 8 and probe.tokens < 60


def test_another_model_is_refused_in_a_sentence(server):
    with pytest.raises(RemoteError, match=r"^127\.0\.0\.1 (refused|does not know)"):
        remote_at(server[0], "nobody/nothing", retries=0).generate([ask("Hi")], SHORT)


def test_a_setting_the_server_does_not_know_is_said(remote):
    with pytest.raises(RemoteError, match=r"refused the request: .*top_k"):
        remote.generate([ask("Hi")], Sampling(max_new_tokens=4, top_k=5))


# values


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host/v1", "http://", "/v1"])
def test_bad_addresses_are_quoted(url):
    with pytest.raises(InputError) as error:
        remote_at(url)
    assert repr(url) in str(error.value)


def test_a_malformed_key_is_not_quoted(monkeypatch):
    monkeypatch.setenv("PRISM_REMOTE_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(InputError) as error:
        remote_at("http://host/v1")
    assert KEY not in str(error.value)


def test_from_environment(monkeypatch):
    monkeypatch.delenv("PRISM_REMOTE_URL", raising=False)
    with pytest.raises(InputError, match="PRISM_REMOTE_URL is not set"):
        from_environment("m")
    monkeypatch.setenv("PRISM_REMOTE_URL", " https://example.org/v1 ")
    monkeypatch.setenv("PRISM_REMOTE_KEY", KEY)
    generator = from_environment("some-model")
    assert (generator.name, generator.host) == ("some-model", "example.org")
    assert KEY not in repr(generator) + generator.fingerprint
    assert from_environment("other").fingerprint != generator.fingerprint


def test_empty_prompts_and_wrong_seeds():
    generator = remote_at("http://127.0.0.1:9/v1")
    assert generator.generate([], SHORT) == []
    with pytest.raises(InputError, match="prompt is empty"):
        generator.stream([()], SHORT)
    with pytest.raises(InputError, match="2 prompts need as many seeds; 1"):
        generator.stream([ask("a"), ask("b")], SHORT, seed=[1])
    with pytest.raises(InputError, match="temperature is -1"):
        generator.stream([ask("a")], Sampling(temperature=-1))


# servers that misbehave, and dialects


@contextmanager
def serving(respond):
    """An HTTP server whose POSTs are answered by `respond(handler, body)`; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            respond(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1"
    finally:
        httpd.shutdown()
        httpd.server_close()


def reply(handler, status, body):
    data = json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def send_pieces(handler, deltas, finish="stop"):
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()
    ends = [(delta, None) for delta in deltas] + ([({}, finish)] if finish else [])
    for delta, reason in ends:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        handler.wfile.write(f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode())


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "refused the key. Check PRISM_REMOTE_KEY"),
        (403, "refused the key"),
        (404, "does not know the model 'm'"),
        (429, "is busy"),
        (400, "refused the request"),
        (500, "failed with status 500"),
    ],
)
def test_refusals_are_plain_and_never_hold_the_key(status, said):
    def respond(handler, body):
        reply(handler, status, {"error": {"message": f"bad {handler.headers['Authorization']}"}})

    with serving(respond) as url, pytest.raises(RemoteError) as error:
        remote_at(url, retries=0).generate([ask("Hi")], SHORT)
    assert said in str(error.value)
    assert KEY not in str(error.value)
    assert error.value.__suppress_context__  # a traceback would print what the server said


def test_a_passing_failure_is_retried():
    calls = []

    def respond(handler, body):
        calls.append(body)
        if len(calls) < 3:
            reply(handler, 503, {"error": {"message": "starting"}})
        else:
            send_pieces(handler, [{"content": "Here."}])

    with serving(respond) as url:
        assert remote_at(url, retries=2).generate([ask("Hi")], SHORT)[0].text == "Here."
    assert len(calls) == 3


def test_nobody_there():
    generator = remote_at(f"http://127.0.0.1:{free_port()}/v1", retries=0)
    with pytest.raises(RemoteError, match="cannot be reached"):
        generator.generate([ask("Hi")], SHORT)


def test_a_silent_server_runs_into_the_timeout():
    with serving(lambda handler, body: time.sleep(2)) as url:
        generator = remote_at(url, timeout=0.3, retries=0)
        begin = time.perf_counter()
        with pytest.raises(RemoteError, match="did not answer in time"):
            generator.generate([ask("Hi")], SHORT)
        assert time.perf_counter() - begin < 1.5


def test_an_answer_cut_off_is_not_taken_for_a_whole_one():
    with (
        serving(lambda handler, body: send_pieces(handler, [{"content": "Half"}], None)) as url,
        pytest.raises(RemoteError, match="broke off"),
    ):
        remote_at(url, retries=0).generate([ask("Hi")], SHORT)


def test_rubbish_is_an_error_not_a_hang():
    def respond(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(b"data: <html>\n\n")

    with serving(respond) as url, pytest.raises(RemoteError, match="protocol"):
        remote_at(url, retries=0).generate([ask("Hi")], SHORT)


def test_thoughts_in_tags_and_in_a_field_of_their_own():
    def respond(handler, body):
        if body["messages"][0]["content"] == "tags":
            pieces = ["<th", "ink>Add ", "them.</thi", "nk>\n\nFour", "."]
            send_pieces(handler, [{"content": piece} for piece in pieces])
        else:
            send_pieces(
                handler,
                [
                    {"reasoning_content": "Add "},
                    {"reasoning_content": "them."},
                    {"content": "Four."},
                ],
            )

    with serving(respond) as url:
        completions = remote_at(url).generate([ask("tags"), ask("field")], SHORT)
    assert [(c.thought, c.text) for c in completions] == [("Add them.", "Four.")] * 2


def test_a_server_that_knows_only_the_newer_name_of_the_limit():
    def respond(handler, body):
        if "max_tokens" in body:
            reply(handler, 400, {"error": {"message": "Use 'max_completion_tokens' instead."}})
        else:
            send_pieces(handler, [{"content": str(body["max_completion_tokens"])}])

    with serving(respond) as url:
        generator = remote_at(url, retries=0)
        assert [c.text for c in generator.generate([ask("Hi")] * 4, SHORT)] == ["8"] * 4
        assert generator.generate([ask("Hi")], Sampling(max_new_tokens=7))[0].text == "7"


def test_many_prompts_run_side_by_side_within_the_limit():
    now, most, guard = [0], [0], threading.Lock()

    def respond(handler, body):
        with guard:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.1)
        with guard:
            now[0] -= 1
        send_pieces(handler, [{"content": body["messages"][0]["content"]}])

    with serving(respond) as url:
        generator = remote_at(url, concurrency=3)
        completions = generator.generate([ask(str(i)) for i in range(9)], SHORT)
    assert [c.text for c in completions] == [str(i) for i in range(9)]
    assert most[0] == 3


def test_scoring_refuses_empty_choices_and_stops_on_request():
    generator = remote_at("http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(InputError, match=r"A choice is empty: \['a', ' '\]"):
        generator.score_choices([ask("x")], [["a", " "]])
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        generator.score_choices([ask("x")], [["a", "b"]], cancel=cancel)
