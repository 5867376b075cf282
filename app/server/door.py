"""What every request passes before the app sees it.

In this order: a name that the app answers to (`hosts`), a client that is not blocked, a path that
is served at all, and the client's quota of what the path takes: places in the queue, open pages,
bytes, wrong passwords. A refusal is a status, one sentence, and a line in the log. Written as plain
ASGI: answers stream through untouched.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.server.hosts import HostRule
from app.server.sessions import OPEN_PAGES, Sessions
from app.services.block_list import BlockList
from app.services.clients import CLIENT_KEY, Clients
from app.services.event_log import EventLog
from app.services.quotas import LOGIN_SECONDS, Quotas, Spent

API = "/gradio_api"
HEALTH = "/healthz"
MAX_BODY_BYTES = 16_000_000
"""The longest request that is no upload; a browser's whole history has half of it at most."""
CLOSED = ("/deep_link", "/monitoring", "/dev/", "/run-history")
"""What Gradio would serve and this app has no use for: a copy of a page on the disk, and so on."""
LOGINS = ("/login", "/operator")
NOTED = (f"{API}/queue/join", f"{API}/call/", f"{API}/upload", *LOGINS)
"""Changes that the log has a line for."""
_JOINS = ("/queue/join", "/call/")


@dataclass(frozen=True)
class _Refusal(Exception):
    """Why a request is not answered."""

    status: int
    what: str
    why: str
    sentence: str


@dataclass
class DoorRules:
    """What the door goes by."""

    hosts: HostRule
    clients: Clients
    quotas: Quotas
    blocks: BlockList
    log: EventLog
    sessions: Sessions
    waiting: Callable[[], Iterable[Mapping[str, Any]]] = tuple
    """Returns the scopes of the requests that wait for a model or are being answered."""
    uploads: Spent = field(default_factory=Spent)
    failed_logins: Spent = field(default_factory=lambda: Spent(LOGIN_SECONDS))
    pages: Counter[str] = field(default_factory=Counter)
    """Open pages by client."""
    joining: Counter[str] = field(default_factory=Counter)
    """Requests on their way into the queue by client: many may come at once."""

    def places(self) -> Counter[str]:
        """Return how many places in the queue each client has, or is about to have."""
        return self.joining + Counter(str(s.get(CLIENT_KEY, "")) for s in self.waiting())


class Door:
    """Lets requests in."""

    def __init__(self, app: ASGIApp, rules: DoorRules) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, pass any other on."""
        if scope["type"] != "http" or scope["path"] == HEALTH:
            await self.app(scope, receive, send)
            return
        client = self.rules.clients.name(scope)
        scope[CLIENT_KEY] = client
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope), client)
            await self._serve(scope, receive, watched, client)
        except _Refusal as refusal:
            self.rules.log.refuse(client, refusal.what, refusal.why)
            if started:  # too late for another answer: the connection breaks off
                raise
            content = {"detail": refusal.sentence, "error": refusal.sentence}
            await JSONResponse(content, refusal.status)(scope, receive, send)

    def _check(self, method: str, path: str, headers: Headers, client: str) -> None:
        rules = self.rules
        if problem := rules.hosts.problem(headers):
            raise _Refusal(403, "name", "host or origin", problem)
        # The operator who has blocked an own address has to get in to lift that.
        if client in rules.blocks and not path.startswith("/operator"):
            raise _Refusal(403, "visit", "blocked", "The operator of this copy has blocked you.")
        inner = path.removeprefix(API)
        if inner.startswith(CLOSED):
            raise _Refusal(404, "path", "closed", "There is nothing here.")
        if method == "POST" and inner.startswith(_JOINS):
            self._check_places(client)
        if path.startswith(LOGINS):
            self._check_logins(client)
        if inner.startswith("/heartbeat/"):
            self._check_pages(client)

    def _check_places(self, client: str) -> None:
        most = self.rules.quotas.places
        if math.isfinite(most) and self.rules.places()[client] >= most:
            raise _Refusal(
                *(503, "queue", "places"),
                f"{most:.0f} requests from your address are waiting already. Try again when some "
                "have been answered.",
            )

    def _check_logins(self, client: str) -> None:
        if self.rules.failed_logins.of(client) >= self.rules.quotas.failed_logins:
            raise _Refusal(
                *(429, "login", "too many failures"),
                f"Too many wrong passwords came from your address. Wait "
                f"{LOGIN_SECONDS / 60:.0f} minutes, then try again.",
            )

    def _check_pages(self, client: str) -> None:
        rules = self.rules
        if rules.pages[client] >= rules.quotas.pages:
            raise _Refusal(429, "page", "open pages", "Too many pages are open at your address.")
        if rules.pages.total() >= OPEN_PAGES:
            raise _Refusal(429, "page", "all pages", "Too many pages are open. Try again later.")

    async def _serve(self, scope: Scope, receive: Receive, send: Send, client: str) -> None:
        inner = scope["path"].removeprefix(API)
        if inner.startswith("/heartbeat/"):
            with self._open_page(client, inner.rpartition("/")[2]):
                await self.app(scope, receive, send)
            return
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        bounded = self._bounded_upload if inner.startswith("/upload") else self._bounded_body
        joins = scope["method"] == "POST" and inner.startswith(_JOINS)
        with _counted(self.rules.joining, client) if joins else nullcontext():
            await self.app(scope, bounded(receive, client), watched)
        self._note(scope, client, status)

    @contextmanager
    def _open_page(self, client: str, session: str) -> Iterator[None]:
        """Count a page while its browser holds the connection that it opens for this."""
        by_session = self.rules.sessions.pages
        with _counted(self.rules.pages, client), _counted(by_session, session):
            yield

    def _bounded_body(self, receive: Receive, client: str) -> Receive:
        taken = 0

        async def read() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY_BYTES:
                raise _Refusal(413, "request", "bytes", "This request is too long.")
            return message

        return read

    def _bounded_upload(self, receive: Receive, client: str) -> Receive:
        spent, quotas = self.rules.uploads, self.rules.quotas

        async def read() -> Message:
            message = await receive()
            if size := len(message.get("body", b"")):
                for held, most, whose in (
                    (spent.of(client), quotas.upload_bytes, "from your address"),
                    (spent.of_all(), quotas.all_upload_bytes, "to this copy"),
                ):
                    if held + size > most:
                        raise _Refusal(
                            *(413, "upload", "bytes in an hour"),
                            f"At most {most / 1e6:,.0f} MB may be uploaded {whose} in an hour. "
                            "Try again later.",
                        )
                spent.add(client, size)
            return message

        return read

    def _note(self, scope: Scope, client: str, status: int) -> None:
        """Write down what is worth a line, and count wrong passwords."""
        path = scope["path"]
        tried = b"authorization" in dict(scope["headers"]) or scope["method"] == "POST"
        if path.startswith(LOGINS) and status in (400, 401) and tried:
            self.rules.failed_logins.add(client)
            self.rules.log.refuse(client, "login", "wrong password or token")
        elif status >= 500 or (scope["method"] == "POST" and path.startswith(NOTED)):
            self.rules.log.note("request", client=client, path=path[:80], status=status)


@contextmanager
def _counted(counter: Counter[str], key: str) -> Iterator[None]:
    """Count one more inside the block."""
    counter[key] += 1
    try:
        yield
    finally:
        counter[key] -= 1
        if not counter[key]:
            del counter[key]
