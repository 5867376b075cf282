"""A visitor who presses Compare, over HTTP as the page's own script does it.

The page's configuration says which listener the button has and what it reads. A press joins
Gradio's queue and reads its stream of events; where the answer says that a state has changed, the
listeners of that state are called in turn, as a browser does. Only the standard library is used,
so that sixty visitors cost little beside the server.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import unescape
from typing import Any
from urllib.parse import urlsplit

RUN, CARDS, STATUS = "px-run", "px-cards", "px-status"
PATIENCE_SECONDS = 600.0
"""A stream that is silent for as long is given up; Gradio's heart beats every 15 s."""
_TEXT = re.compile(r'class="px-text" dir="auto">\s*[^<\s]')
_TOKENS = re.compile(r'title="Tokens in the answer">([\d,]+) token')
_NUMBER = re.compile(r"(?:^|\s)\d+(?:[\s,.]|$)")
_TAG = re.compile(r"<[^>]+>")


@dataclass(frozen=True)
class Visit:
    """What became of one press; times are on the clock `time.monotonic`."""

    pressed: float
    first: float | None = None
    """When the first word of any answer was on the page."""
    served: float | None = None
    """When the last answer was complete."""
    tokens: int = 0
    answers: int = 0
    place: str = ""
    """What the visitor was told about the queue while waiting: the first such message."""
    refused: str = ""
    """The line of a server that takes no more."""
    status: str = ""
    """The page's last status line."""
    cpu: float = 0.0
    """Processor seconds of the visitor's own process, from the press to the end."""


@dataclass(frozen=True)
class Listener:
    """One of the page's listeners."""

    index: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    targets: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Page:
    """What a browser knows of the page once it has loaded."""

    url: str
    prefix: str
    values: Mapping[int, Any]
    names: Mapping[str, int]
    """Components by their element id, and by their label where they have none."""
    listeners: Sequence[Listener]

    def listening(self, component: int, event: str) -> list[Listener]:
        """Return what is called when this happens to a component."""
        return [one for one in self.listeners if (component, event) in one.targets]

    def fill(self, fields: Mapping[str, Any]) -> Page:
        """Return the page with these values in its fields, by element id or label.

        Raises:
            KeyError: the page has no such field.
        """
        filled = {self.names[name]: value for name, value in fields.items()}
        return replace(self, values={**self.values, **filled})


def open_page(url: str) -> Page:
    """Load the page's configuration."""
    with urllib.request.urlopen(f"{url}/config", timeout=60) as answer:
        config = json.load(answer)
    names: dict[str, int] = {}
    for part in config["components"]:
        for key in ("label", "elem_id"):  # an element id is the better name
            names[str(part["props"].get(key) or "")] = part["id"]
    return Page(
        url=url,
        prefix=config.get("api_prefix", ""),
        values={part["id"]: part["props"].get("value") for part in config["components"]},
        names=names,
        listeners=[
            Listener(
                one["id"],
                tuple(one["inputs"]),
                tuple(one["outputs"]),
                tuple((part, event) for part, event in one["targets"]),
            )
            for one in config["dependencies"]
        ],
    )


@dataclass
class Visitor:
    """Presses once and watches the page."""

    page: Page
    session: str = field(default_factory=lambda: secrets.token_hex(6))
    visit: Visit = field(init=False)
    shown: dict[int, Any] = field(default_factory=dict)

    def press(self) -> Visit:
        """Press Compare and wait until every listener has ended."""
        cpu = time.process_time()
        self.visit = Visit(pressed=time.monotonic())
        button = self.page.names[RUN]
        waiting = self.page.listening(button, "click")
        while waiting:
            changed = self._call(waiting.pop(0), button)
            waiting += [one for part in changed for one in self.page.listening(part, "change")]
        cards = self._text(CARDS)
        tokens = [int(number.replace(",", "")) for number in _TOKENS.findall(cards)]
        return replace(
            self.visit,
            tokens=sum(tokens),
            answers=len(tokens),
            status=unescape(_TAG.sub("", self._text(STATUS))).strip(),
            cpu=time.process_time() - cpu,
        )

    def _call(self, listener: Listener, trigger: int) -> list[int]:
        """Let a listener run to its end; return the states that it has changed."""
        body = {
            "data": [self.page.values.get(part) for part in listener.inputs],
            "fn_index": listener.index,
            "session_hash": self.session,
            "trigger_id": trigger,
        }
        with self._request("POST", "/queue/join", json.dumps(body)) as answer:
            if answer.status != 200:
                told = json.loads(answer.read() or b"{}").get("detail")
                self.visit = replace(self.visit, refused=str(told or answer.reason))
                return []
        changed: list[int] = []
        is_first = True
        for message in self._messages():
            kind, output = message["msg"], message.get("output") or {}
            if kind == "estimation" and message.get("rank"):  # 0 is next
                self._tell(f"rank {message.get('rank')} of {message.get('queue_size')}")
            elif kind in ("process_generating", "process_completed"):
                full = is_first or kind == "process_completed"
                self._draw(listener, output.get("data") or [], full)
                is_first = False
            if kind == "process_completed":
                changed = list(output.get("changed_state_ids") or [])
                if message.get("success") and self.visit.first is not None:
                    self.visit = replace(self.visit, served=time.monotonic())
        return changed

    def _draw(self, listener: Listener, data: Sequence[Any], full: bool) -> None:
        """Take new values, or after the first of a stream what changes in them, to the page."""
        for part, new in zip(listener.outputs, data, strict=False):
            if full:
                self.shown[part] = new if new is not None else self.shown.get(part)
            else:
                self.shown[part] = _edited(self.shown.get(part), new or [])
        if self.visit.first is None:
            if _TEXT.search(self._text(CARDS)):
                self.visit = replace(self.visit, first=time.monotonic())
            status = unescape(_TAG.sub("", self._text(STATUS))).strip()
            if _NUMBER.search(status):
                self._tell(status)

    def _text(self, name: str) -> str:
        value = self.shown.get(self.page.names[name])
        if isinstance(value, dict):
            value = value.get("value")
        return value if isinstance(value, str) else ""

    def _tell(self, line: str) -> None:
        if not self.visit.place and self.visit.first is None:
            self.visit = replace(self.visit, place=line)

    def _messages(self) -> Iterator[dict[str, Any]]:
        """Read the session's stream of events until the server closes it."""
        with self._request("GET", f"/queue/data?session_hash={self.session}") as answer:
            for line in answer:
                if line.startswith(b"data:"):
                    message = json.loads(line[5:])
                    if message["msg"] == "close_stream":
                        return
                    yield message

    def _request(self, method: str, path: str, body: str | None = None) -> http.client.HTTPResponse:
        where = urlsplit(self.page.url)
        kind = (
            http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(where.netloc, timeout=PATIENCE_SECONDS)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        connection.request(method, f"{where.path}{self.page.prefix}{path}", body, headers)
        return connection.getresponse()


def _edited(value: Any, edits: Sequence[Sequence[Any]]) -> Any:
    """Apply what Gradio says has changed in a text, or in one field of an update."""
    for action, path, new in edits:
        if not path:
            value = value + new if action == "append" else new
        elif action == "delete":
            value = {key: old for key, old in value.items() if key != path[0]}
        else:
            value = {**value, path[0]: value[path[0]] + new if action == "append" else new}
    return value
