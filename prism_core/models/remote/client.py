"""One model's connection: each method sends a request and returns a checked reply, or explains.

The official client does the HTTP and nothing else here: it would hand on replies of any shape. The
key goes into it and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from openai import APIStatusError, OpenAI, OpenAIError, Stream
from openai._types import RequestOptions
from pydantic import ValidationError

from prism_core.models.remote.dialect import Dialect, refused_parameter
from prism_core.models.remote.endpoint import Endpoint, check_endpoint, read_key
from prism_core.models.remote.errors import EndpointError, explain, quoted
from prism_core.models.remote.reply import END, Reply

CHAT = "/chat/completions"
_ABSENT = (404, 405, 501)


class Client:
    """One model at one endpoint. Safe to share among threads."""

    def __init__(self, endpoint: Endpoint, model: str = "", *, effort: str = "") -> None:
        """Connect nothing yet; the first request does.

        With an `effort`, every chat request asks the model to think so much.

        Raises:
            InputError: a value cannot be used; the key itself is never quoted.
        """
        self.endpoint, self.model = check_endpoint(endpoint), model
        self.dialect = Dialect()
        self._effort = {"reasoning_effort": effort} if effort else {}
        self.retries = endpoint.retries
        """How often a request is repeated here; 0 where the caller does that."""
        self._key = read_key(endpoint)
        self._openai = OpenAI(
            base_url=endpoint.base_url, api_key=self._key or "none", timeout=endpoint.timeout
        )

    def stream(self, body: Mapping[str, Any]) -> Generator[Reply]:
        """Send a chat request and yield its answer in pieces; a whole answer is one piece.

        Raises:
            RemoteError: the endpoint refused, failed, or sent what is no answer.
        """
        wanted = {**body, "stream": True, "stream_options": {"include_usage": True}}
        with self._explained():
            opened = self._create(wanted, stream=True)
        with self._explained(has_begun=True), opened as chunks:
            kind = chunks.response.headers.get("content-type", "").partition(";")[0].strip()
            if kind in ("application/json", "text/html"):
                text = chunks.response.read().decode("utf-8", "replace")
                yield self._reply(json.loads(text) if kind == "application/json" else text)
                return
            for chunk in chunks:
                yield self._reply(chunk)
            # Such a reply that was cut off would have been an error by now.
            if chunks.response.headers.keys() & {"content-length", "transfer-encoding"}:
                yield END

    def chat(self, body: Mapping[str, Any]) -> Reply:
        """Send a chat request and return its whole reply, which holds an answer.

        Raises:
            RemoteError: the endpoint refused, failed, or sent what is no answer.
        """
        with self._explained():
            found = self._create(body)
            reply = self._reply(found)
        if not reply.choices:
            raise self.protocol_error(str(found))
        return reply

    def post(self, path: str, body: Mapping[str, Any], purpose: str) -> dict[str, Any]:
        """Send a request that is not a chat's, and return the JSON object of its reply.

        Args:
            path: below the base URL, such as `/completions`; or a whole address.
            body: what is sent.
            purpose: what a server cannot do that does not know the path.

        Raises:
            RemoteError: the endpoint refused, failed, or sent something else.
        """
        with self._explained():
            try:
                reply = self._openai.post(path, cast_to=object, body=body, options=self._options())
            except APIStatusError as error:
                if error.status_code not in _ABSENT:
                    raise
                host, status = self.endpoint.host, error.status_code
                raise EndpointError(
                    f"{host} cannot {purpose}: {path} is answered with status {status}.",
                    "refused",
                    status,
                ) from None
        if not isinstance(reply, dict):
            raise self.protocol_error(str(reply))
        return reply

    def models(self) -> list[str]:
        """Return the names of the models that the endpoint lists.

        Raises:
            RemoteError: the endpoint refused, failed, or lists nothing.
        """
        with self._explained():
            page = self._openai.get("/models", cast_to=object, options=self._options())
        rows = page.get("data") or page.get("models") if isinstance(page, dict) else page
        if not isinstance(rows, list):
            raise self.protocol_error(str(page))
        names = [row.get("id") or row.get("name") for row in rows if isinstance(row, dict)]
        return sorted({str(name) for name in names if name})

    def protocol_error(self, said: str) -> EndpointError:
        """Return the error of a reply that is not what the protocol says."""
        quote = quoted(said, self._key) or "(nothing)"
        return EndpointError(
            f"{self.endpoint.host} does not speak the OpenAI protocol here; it sent: {quote}",
            "protocol",
        )

    def _create(self, body: Mapping[str, Any], *, stream: bool = False) -> Any:
        """Send a chat request, once more for each parameter that turns out to be refused."""
        lessons: tuple[str, ...] = ()
        while True:
            sent = self.dialect.fit({"model": self.model, **self._effort, **body}, lessons)
            try:
                found = self._send(sent, stream)
            except APIStatusError as error:
                told = error.body or str(error)
                lesson = refused_parameter(error.status_code, told, sent)
                if lesson is None:
                    raise
                lessons = (*lessons, lesson)
            else:
                self.dialect.adopt(lessons)  # only now is it known that they were the reason
                return found

    def _send(self, body: dict[str, Any], stream: bool) -> Any:
        options = self._options()
        if not stream:
            return self._openai.post(CHAT, cast_to=object, body=body, options=options)
        return self._openai.post(
            CHAT, cast_to=object, body=body, options=options, stream=True, stream_cls=Stream[object]
        )

    def _options(self) -> RequestOptions:
        return {"max_retries": self.retries}

    def _reply(self, found: object) -> Reply:
        """Check a reply or a piece of one."""
        if isinstance(found, Mapping) and found.get("error"):  # with status 200
            said = found["error"]
            said = said.get("message") or said if isinstance(said, Mapping) else said
            raise EndpointError(
                f"{self.endpoint.host} broke off: {quoted(str(said), self._key)}", "refused"
            )
        try:
            return Reply.model_validate(found)
        except ValidationError:
            raise self.protocol_error(str(found)) from None

    @contextmanager
    def _explained(self, *, has_begun: bool = False) -> Iterator[None]:
        """Turn what the client raises into sentences without the key."""
        try:
            yield
        except OpenAIError as error:
            raise explain(
                error, self.endpoint, self.model, self._key, has_begun=has_begun
            ) from None
        except json.JSONDecodeError as error:
            raise self.protocol_error(error.doc) from None
