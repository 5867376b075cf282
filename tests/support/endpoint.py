"""A server that answers as chat endpoints do, keeps count, and misbehaves where it is told to."""

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

from prism_core.models.remote.probing import HELLO, KNOWN

Trouble = Callable[[BaseHTTPRequestHandler, dict[str, Any], int], bool]
"""Told the request and its number from 0; answers it itself and returns True, or leaves it."""


@dataclass
class Counted:
    """What a server was asked and what it has answered, by the prompt's last turn."""

    url: str = ""
    seconds: float = 0.0
    """How long every answer takes."""
    trouble: Trouble = lambda handler, body, number: False
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    """Answers that were sent whole."""
    probes: int = 0
    """Requests of a probe, counted apart; of them only the streamed chat is answered and paid."""
    under_way: int = 0
    most: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def take(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        text = " | ".join(one["content"] for one in body.get("messages", ()))
        if text.startswith((HELLO[0].content, KNOWN[0].content)):
            with self.guard:
                self.probes += 1
            if body.get("stream"):
                send_answer(handler, "ready")
            else:
                send_error(handler, 501)
            return
        with self.guard:
            number = sum(self.asked.values())
            self.asked[text] += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            if not self.trouble(handler, body, number):
                time.sleep(self.seconds)
                send_answer(handler, f"answer to {text[-40:]}")
                with self.guard:
                    self.answered[text] += 1
        finally:
            with self.guard:
                self.under_way -= 1


def send_error(handler: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    """Refuse a request."""
    content = json.dumps({"error": {"message": f"status {status}, says the mock"}}).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def send_answer(
    handler: BaseHTTPRequestHandler,
    text: str,
    *,
    whole: bool = True,
    prompt_tokens: int = 40,
    thoughts: int = 0,
) -> None:
    """Stream an answer of ten tokens; where it is not whole, the connection breaks before its end.

    The thoughts, in a field of their own, are counted among the answer's tokens.
    """
    deltas: list[dict[str, Any]] = [{"content": text}]
    if thoughts:
        deltas.insert(0, {"reasoning_content": "let me think"})
    choices = [[{"index": 0, "delta": d, "finish_reason": None}] for d in deltas]
    choices.append([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    head = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    lines = [{**head, "choices": one} for one in choices]
    usage: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": 10 + thoughts,
        "total_tokens": prompt_tokens + 10 + thoughts,
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }
    lines.append({**head, "choices": [], "usage": usage})
    content = "".join(f"data: {json.dumps(line)}\n\n" for line in lines) + "data: [DONE]\n\n"
    data = content.encode() if whole else f"data: {json.dumps(lines[0])}\n\n".encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(data)
    if not whole:
        handler.close_connection = True


@contextmanager
def endpoint_server(seconds: float = 0.0, trouble: Trouble | None = None) -> Iterator[Counted]:
    """Serve on loopback; what it was asked stands in the value."""
    counted = Counted(seconds=seconds)
    if trouble is not None:
        counted.trouble = trouble

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else the kernel holds small packets back (Nagle), which adds 40 ms to every answer.
        wbufsize = -1

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            counted.take(self, body)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of a client that was killed or that hung up."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    counted.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield counted
    finally:
        server.shutdown()
        server.server_close()
