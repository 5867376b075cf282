"""A strict mock of the services that speak OpenAI's protocol: it refuses what one of them would.

`Rules` say how it behaves. A request that no service takes (a seed beyond 31 bits, `top_p` of 1,
which is never to be sent, an unknown field, a system turn in the middle) is a fault and fails the
test. It counts what it was asked and which answers it sent whole, since those are paid.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KNOWN = {
    *("model", "messages", "temperature", "top_p", "seed", "stream", "stream_options"),
    *("max_tokens", "max_completion_tokens", "logprobs", "top_logprobs", "n", "top_k"),
    *("prompt_logprobs", "add_generation_prompt", "continue_final_message"),
    "repetition_penalty",
}
Trouble = Callable[["Handler", dict[str, Any]], None]
"""Answers a request itself."""
LETTERS = {"A": -0.3, " B": -1.6, "C": -3.0, "The": -4.0}
"""What it reports as its likeliest first tokens."""


@dataclass(frozen=True)
class Rules:
    """How a service behaves."""

    key: str = ""
    """The key it wants; empty for none."""
    model: str = "m"
    refuses: tuple[str, ...] = ()
    """Fields that it refuses, in the form of `refusal`."""
    refusal: str = "openai"
    newer_cap: bool = False
    """Whether it wants `max_completion_tokens`."""
    one_of_temperature: bool = False
    """Whether it refuses temperature and top_p together, as Anthropic does."""
    hottest: float = 2.0
    tops: int = 0
    """How many first tokens it reports at the most; 0 passes `logprobs` over."""
    several: bool = False
    usage: str = "asked"
    """`asked`, `always`, or `never`."""
    thinks: str = ""
    """The field in which it thinks: `reasoning_content`, `reasoning`; `hidden`, or none."""
    given: str = ""
    """What it says of given text: `chat` by vLLM's field; by echo `true`, `zeros`, `generated`."""
    completions: int = 200
    """Status of /completions and of /apply-template; 200 where they are there."""
    troubles: tuple[Trouble, ...] = ()
    """What befalls its first chat requests, one each; then it answers."""
    always: Trouble | None = None
    """What befalls every chat request."""
    kind: str = "text/event-stream"
    send: str = "stream"
    """`stream` as asked, or `whole` whatever is asked."""
    finish: str | None = "stop"
    deltas: tuple[dict[str, Any], ...] = ({"content": "Fine"}, {"content": " answer."})


@dataclass
class Service:
    """A running mock and what it has seen."""

    rules: Rules
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    """Chat requests by their last turn."""
    paid: Counter[str] = field(default_factory=Counter)
    """Chat answers that were sent whole, by the same."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def strict_service(rules: Rules) -> Iterator[Service]:
    """Serve on loopback; in the end, no request may have been faulty."""
    service = Service(rules)

    class Own(Handler):
        pass

    Own.service = service
    server = _Server(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    service.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
    assert service.faults == []


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hung up."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    service: Service
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """List the models."""
        rules = self.service.rules
        if rules.key and self.headers["Authorization"] != f"Bearer {rules.key}":
            return self.refuse(401, f"Incorrect API key provided: {self.headers['Authorization']}")
        self.reply({"object": "list", "data": [{"id": rules.model}, {"id": "another"}]})

    def do_POST(self) -> None:
        """Check a request and answer it by the rules."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rules = self.service.rules
        if rules.key and self.headers["Authorization"] != f"Bearer {rules.key}":
            return self.refuse(401, f"Incorrect API key provided: {self.headers['Authorization']}")
        if not self.path.endswith("/chat/completions"):
            return self._other(body)
        last = body["messages"][-1]["content"]
        with self.service.guard:
            number = sum(self.service.asked.values())
            self.service.asked[last] += 1
            self.service.bodies.append(body)
            self.service.faults += _faults(body)
        if self._refuses(body):
            return None
        if rules.always is not None:
            return rules.always(self, body)
        if number < len(rules.troubles):
            return rules.troubles[number](self, body)
        self.answer(body)

    def answer(self, body: dict[str, Any]) -> None:
        """Answer a chat request whole."""
        if body.get("stream") and self.service.rules.send == "stream":
            self.send_lines([json.dumps(piece) for piece in _pieces(self.service.rules, body)])
        else:
            self.reply(_whole(self.service.rules, body))
        with self.service.guard:
            self.service.paid[body["messages"][-1]["content"]] += 1

    def send_lines(self, lines: list[str], *, cut: bool = False) -> None:
        """Send events; where they are cut, the connection breaks before its end."""
        ends = [] if cut else ["[DONE]"]
        content = "".join(f"data: {line}\n\n" for line in [*lines, *ends]).encode()
        self.send_response(200)
        self.send_header("Content-Type", self.service.rules.kind)
        self.send_header("Content-Length", str(len(content) + 100 * cut))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = cut

    def reply(self, found: object, status: int = 200, kind: str = "application/json") -> None:
        """Send a reply that is not a stream."""
        content = (found if isinstance(found, str) else json.dumps(found)).encode()
        self.send_response(status)
        for name, value in getattr(self, "more", {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def refuse(self, status: int, message: str, **fields: str) -> None:
        """Refuse a request in OpenAI's form."""
        self.reply({"error": {"message": message, "type": "invalid", **fields}}, status)

    def _refuses(self, body: dict[str, Any]) -> bool:
        rules = self.service.rules
        if body["model"] != rules.model:
            self.refuse(404, f"The model `{body['model']}` does not exist")
            return True
        lost = [name for name in rules.refuses if name in body]
        if rules.newer_cap and "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens' is not supported with this model. "
            self.refuse(400, said + "Use 'max_completion_tokens' instead.", param="max_tokens")
        elif rules.one_of_temperature and "temperature" in body and "top_p" in body:
            both = "`temperature` and `top_p` cannot both be specified for this model."
            self.reply({"type": "error", "error": {"message": both}}, 400)
        elif body.get("temperature", 0) > rules.hottest:
            self.refuse(400, f"temperature: must be in the range 0..{rules.hottest}")
        elif lost and rules.refusal == "openai":
            said = (
                f"Unsupported value: '{lost[0]}' does not support {body[lost[0]]} with this model"
            )
            self.refuse(400, said, param=lost[0], code="unsupported_value")
        elif lost and rules.refusal == "fastapi":
            self.reply({"detail": f"Unexpected fields in the request: {set(lost)}"}, 422)
        elif lost and rules.refusal == "pydantic":
            detail = [{"loc": ["body", lost[0]], "msg": "Extra inputs are not permitted"}]
            self.reply({"detail": detail}, 422)
        else:
            return False
        return True

    def _other(self, body: dict[str, Any]) -> None:
        """Answer what is not a chat: echo, or the chat template."""
        rules = self.service.rules
        if rules.completions != 200:
            return self.reply({"error": "no such path"}, rules.completions)
        if self.path.endswith("/apply-template"):
            return self.reply({"prompt": "".join(f"<{m['content']}>" for m in body["messages"])})
        self.reply({"choices": [{"text": "x", "logprobs": _echo(rules.given, body["prompt"])}]})


def _faults(body: dict[str, Any]) -> list[str]:
    """Return what no service may be sent."""
    roles = [message["role"] for message in body["messages"]]
    checks = {
        "unknown fields": set(body) <= KNOWN,
        "a seed beyond 31 bits": 0 <= body.get("seed", 0) < 2**31,
        "top_p of 1": body.get("top_p") != 1.0,
        "both caps": not {"max_tokens", "max_completion_tokens"} <= set(body),
        "a cap below 1": body.get("max_tokens", body.get("max_completion_tokens", 1)) >= 1,
        "stream_options without a stream": body.get("stream") or "stream_options" not in body,
        "top_logprobs without logprobs": body.get("logprobs") or "top_logprobs" not in body,
        "a system turn that is not the first": "system" not in roles[1:],
        "an empty turn": all(message["content"].strip() for message in body["messages"]),
    }
    return [f"{what}: {body}" for what, is_fine in checks.items() if not is_fine]


def _usage(rules: Rules) -> dict[str, Any]:
    tokens = 7 if rules.thinks else 2
    details = {"completion_tokens_details": {"reasoning_tokens": 5}} if rules.thinks else {}
    return {"prompt_tokens": 11, "completion_tokens": tokens, "total_tokens": 18, **details}


def _pieces(rules: Rules, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    head = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": rules.model}
    thoughts = [{rules.thinks: "Hmm."}] if rules.thinks not in ("", "hidden") else []
    for delta in (*thoughts, *rules.deltas):
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    if rules.finish:
        yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": rules.finish}]}
    asked = (body.get("stream_options") or {}).get("include_usage")
    if rules.usage == "always" or (rules.usage == "asked" and asked):
        yield {**head, "choices": [], "usage": _usage(rules)}


def _whole(rules: Rules, body: dict[str, Any]) -> dict[str, Any]:
    text = "".join(delta.get("content") or "" for delta in rules.deltas)
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": rules.finish,
        "logprobs": None,
    }
    if rules.tops and body.get("logprobs"):
        tops = [{"token": t, "logprob": v, "bytes": None} for t, v in LETTERS.items()]
        choice["logprobs"] = {"content": [{**tops[0], "top_logprobs": tops[: rules.tops]}]}
    many = body.get("n", 1) if rules.several else 1
    found = {"id": "x", "object": "chat.completion", "created": 0, "model": rules.model}
    found |= {"choices": [choice] * many}
    if rules.usage != "never":
        found["usage"] = _usage(rules)
    if rules.given == "chat" and body.get("prompt_logprobs") is not None:
        found["prompt_logprobs"] = _given(body["messages"])
    return found


def _given(messages: list[dict[str, str]]) -> list[Any]:
    """Report log-probabilities of a conversation as vLLM does: right answers are likelier."""
    words = [word for message in messages for word in message["content"].split(" ")]
    places: list[Any] = [None]
    for i, word in enumerate(words):
        value = -0.5 if word == "Paris" else -2.0
        places.append({str(i): {"logprob": value, "rank": 1, "decoded_token": f" {word}"}})
    return places


def _echo(given: str, text: str) -> dict[str, Any] | None:
    """Report log-probabilities of a text as servers do that echo it, or that only seem to."""
    if given == "generated":  # of what was written after it, llama.cpp #27174
        return {"tokens": ["x"], "token_logprobs": [-0.1], "text_offset": [len(text)]}
    if given not in ("true", "zeros"):
        return None
    cut = text.rindex(">") + 1
    tokens, offsets = [text[:cut], text[cut:]], [0, cut]
    value = 0.0 if given == "zeros" else -0.5 if text.endswith("Paris") else -2.0
    values = [None, value]
    return {"tokens": tokens, "token_logprobs": values, "text_offset": offsets}


def failing(status: int, message: str = "says the mock", **headers: str) -> Trouble:
    """Fail with a status."""

    def trouble(handler: Handler, body: dict[str, Any]) -> None:
        handler.more = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.refuse(status, message)
        handler.more = {}

    return trouble


def hanging_up(handler: Handler, body: dict[str, Any]) -> None:
    """Close the connection without a word."""
    handler.close_connection = True


def breaking_off(handler: Handler, body: dict[str, Any]) -> None:
    """Send the first piece and break the connection."""
    first = next(_pieces(handler.service.rules, body))
    handler.send_lines([json.dumps(first)], cut=True)


def breaking_off_after_the_end(handler: Handler, body: dict[str, Any]) -> None:
    """Send the whole answer with the reason of its end, and break the connection before usage."""
    pieces = list(_pieces(handler.service.rules, body))[:-1]
    handler.send_lines([json.dumps(piece) for piece in pieces], cut=True)


def silent(seconds: float, *, begin: bool = False) -> Trouble:
    """Say nothing for a while, before the answer or after its first piece; then answer."""

    def trouble(handler: Handler, body: dict[str, Any]) -> None:
        if begin:
            first = next(_pieces(handler.service.rules, body))
            handler.send_response(200)
            handler.send_header("Content-Type", "text/event-stream")
            handler.send_header("Content-Length", "9999")
            handler.end_headers()
            handler.wfile.write(f"data: {json.dumps(first)}\n\n".encode())
            handler.wfile.flush()
            handler.close_connection = True
            time.sleep(seconds)
        else:
            time.sleep(seconds)
            handler.answer(body)

    return trouble


def sending(*lines: str) -> Trouble:
    """Send these events."""
    return lambda handler, body: handler.send_lines(list(lines))


def replying(found: object, status: int = 200, kind: str = "application/json") -> Trouble:
    """Send this in place of a stream."""
    return lambda handler, body: handler.reply(found, status, kind)
