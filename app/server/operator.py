"""The operator's page: who holds what, what was refused, and what can be done about it.

It asks for a token, as the password of HTTP's basic authentication (any user) or as a bearer's;
wrong ones are counted by the door, which also refuses forms of other pages. Clients are shown by
their hash. The page changes three things: it cancels a run, blocks a client, lets one in again.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from app.server.door import DoorRules
from app.server.operator_view import ClientRow, Report, RunLine, report_page
from app.services.clients import CLIENT_KEY
from app.services.disk import disk_parts
from app.services.jobs import Jobs
from app.services.run_limits import UNFINISHED
from app.services.settings import Settings, kept_secret
from app.services.study_shelf import StudyImports
from prism_core.errors import InputError, PrismError
from prism_core.storage import RunRow, Store

LEAST_TOKEN = 16
_LATEST = 20
_HEADERS = {
    "cache-control": "no-store",
    # The page's own forms have to say where they come from, see `hosts`.
    "referrer-policy": "same-origin",
}


def operator_token(folder: Path, environment: Mapping[str, str]) -> str:
    """Return the token of `PRISM_OPERATOR_TOKEN`, or one that is made once and kept in a folder.

    Raises:
        InputError: the variable's token could be guessed.
        StorageError: the folder cannot be written.
    """
    token = environment.get("PRISM_OPERATOR_TOKEN", "").strip()
    if not token:
        return kept_secret(folder / "operator-token")
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable():
        raise InputError(
            f"PRISM_OPERATOR_TOKEN has {len(token)} characters; use at least {LEAST_TOKEN} plain "
            "ones, such as those of `python -c 'import secrets; print(secrets.token_hex())'`."
        )
    return token


@dataclass(frozen=True)
class Operator:
    """Answers the operator."""

    token: str
    settings: Settings
    rules: DoorRules
    store: Store
    jobs: Jobs
    imports: StudyImports

    def routes(self) -> list[Route]:
        """Return the page and its three forms."""
        return [
            Route("/operator", self._asked(self._show)),
            Route("/operator/cancel", self._asked(self._cancel), methods=["POST"]),
            Route("/operator/block", self._asked(self._block), methods=["POST"]),
            Route("/operator/admit", self._asked(self._admit), methods=["POST"]),
        ]

    def report(self) -> Report:
        """Gather what the page shows."""
        unfinished = self.store.list_runs(statuses=UNFINISHED, limit=1_000)
        latest = self.store.list_runs(limit=_LATEST)
        runs = {run.id: run for run in (*unfinished, *latest)}
        waiting = list(self.rules.waiting())
        return Report(
            at=datetime.now(UTC),
            waiting=len(waiting),
            queue=self.rules.quotas.queue,
            pages=self.rules.pages.total(),
            sessions=len(self.rules.sessions.session_data),
            clients=tuple(self._clients(unfinished, waiting)),
            runs=tuple(self._line(run) for run in runs.values()),
            disk=disk_parts(self.store.home, self.settings.cache),
            refusals=tuple(self.rules.log.refusals()),
        )

    def _clients(
        self, unfinished: list[RunRow], waiting: list[Mapping[str, Any]]
    ) -> list[ClientRow]:
        rules = self.rules
        owners = [self.jobs.limits.client_of(run.id) for run in unfinished]
        places = [str(scope.get(CLIENT_KEY, "")) for scope in waiting]
        kept = [one.client for one in self.imports.list()]
        refused, blocked = rules.log.refused(), set(rules.blocks.all())
        names = {*owners, *places, *kept, *rules.pages, *refused, *blocked} - {""}
        return [
            ClientRow(
                name=name,
                places=places.count(name),
                pages=rules.pages[name],
                runs=owners.count(name),
                files=kept.count(name),
                uploaded=int(rules.uploads.of(name)),
                refused=refused[name],
                blocked=name in blocked,
            )
            for name in sorted(names, key=lambda n: (-places.count(n), -owners.count(n), n))
        ]

    def _line(self, run: RunRow) -> RunLine:
        return RunLine(
            id=run.id,
            kind=run.kind,
            status=run.status,
            client=self.jobs.limits.client_of(run.id),
            place=self.jobs.queue_position(run.id),
            stage=run.stage,
            fraction=run.fraction,
            created=datetime.fromtimestamp(run.created, UTC),
        )

    def _asked(self, act: Callable[[Mapping[str, str]], Response]) -> Callable[..., Any]:
        """Let only the operator ask for something; errors become a sentence."""

        async def answer(request: Request) -> Response:
            if not self._is_operator(request.headers.get("authorization", "")):
                ask = {"www-authenticate": 'Basic realm="PRISM Studio operator"'}
                return PlainTextResponse("A token is needed.", 401, _HEADERS | ask)
            form = await request.form() if request.method == "POST" else {}
            values = {name: str(value) for name, value in form.items()}
            try:
                found = await run_in_threadpool(act, values)
            except PrismError as error:
                found = PlainTextResponse(str(error), 400)
            found.headers.update(_HEADERS)
            return found

        return answer

    def _is_operator(self, given: str) -> bool:
        scheme, _, credentials = given.partition(" ")
        if scheme.lower() == "basic":
            try:
                decoded = base64.b64decode(credentials, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return False
            credentials = decoded.partition(":")[2]
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(credentials.encode(), self.token.encode())

    def _show(self, values: Mapping[str, str]) -> Response:
        return HTMLResponse(report_page(self.report()))

    def _cancel(self, values: Mapping[str, str]) -> Response:
        run = self.jobs.cancel(values.get("run", ""))
        self.rules.log.note("operator cancelled", run=run.id)
        return RedirectResponse("/operator", 303)

    def _block(self, values: Mapping[str, str]) -> Response:
        return self._set_block(values, blocked=True)

    def _admit(self, values: Mapping[str, str]) -> Response:
        return self._set_block(values, blocked=False)

    def _set_block(self, values: Mapping[str, str], *, blocked: bool) -> Response:
        client = values.get("client", "")
        if not client.isalnum() or len(client) > 64:
            raise InputError(f"'{client[:40]}' is not a client.")
        self.rules.blocks.set(client, blocked=blocked)
        self.rules.log.note("operator blocked" if blocked else "operator admitted", client=client)
        return RedirectResponse("/operator", 303)
