"""An endpoint: where it is, which variable holds its key, and what it asks and allows.

An `Endpoint` is plain data that may be written down, shown and stored, so it knows the *name* of
the variable that holds the key and never the key. `read_key` looks at the environment when a
client is made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from prism_core.errors import InputError
from prism_core.utils.validation import PLAIN, check

UNNAMED = "remote"
"""Name of the endpoint that `PRISM_REMOTE_URL` and `PRISM_REMOTE_KEY` describe."""
RESERVED = (UNNAMED, "hub", "embedded", "self")
"""Names that mean something else where a model is named."""
ENDPOINT_NAME = re.compile(r"[a-z][a-z0-9_-]{1,39}", re.ASCII)
KEY_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{1,79}", re.ASCII)
"""Names of variables in capitals alone: a key that was pasted in their place is found out."""
_KEY = re.compile(r"[!#-&(-\[\]-~]*", re.ASCII)
_DATE = r"\d{4}-\d{2}-\d{2}"

Money = Annotated[float, Field(ge=0, le=1e6), PLAIN]


@dataclass(frozen=True)
class Price:
    """What a provider asks for one model, as somebody read it there."""

    input: Money
    """For a million tokens of prompts."""
    output: Money
    """For a million tokens of answers, thoughts included."""
    currency: Annotated[str, Field(pattern=r"[A-Z]{3}", max_length=3)] = "USD"
    date: Annotated[str, Field(pattern=rf"^({_DATE})?$", max_length=10)] = ""
    """When it was read, as YYYY-MM-DD."""
    source: Annotated[str, Field(max_length=300)] = ""
    """Where it was read."""


@dataclass(frozen=True)
class Limits:
    """What an endpoint must not be asked beyond; None sets no limit."""

    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000), PLAIN] | None = None
    """In studies and training runs."""
    answer_tokens: Annotated[int, Field(ge=1, le=1_000_000), PLAIN] | None = None
    """The longest answer that may be asked for."""


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server."""

    name: str
    """What stands before the colon in `NAME:MODEL`."""
    base_url: str
    """Its API's address, such as `https://host/v1`."""
    key_variable: str = ""
    """Name of the environment variable that holds the key; empty where none is asked for."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """By the model's name; a model that is not there has an unknown price."""
    limits: Limits = field(default_factory=Limits)
    concurrency: Annotated[int, Field(ge=1, le=512), PLAIN] | None = None
    """Requests under way at the same time, at the most; None leaves it to who asks."""
    retries: Annotated[int, Field(ge=0, le=100), PLAIN] = 2
    """How often a request is repeated that failed for a passing reason."""
    timeout: Annotated[float, Field(ge=0.1, le=3600), PLAIN] = 120.0
    """Seconds to wait for a connection and for each piece of an answer."""

    @property
    def host(self) -> str:
        """The server's name, for sentences."""
        return urlsplit(self.base_url).hostname or self.base_url

    @property
    def has_key(self) -> bool:
        """Whether the key is there, or none is needed: servers on this machine seldom want one."""
        is_near = self.host in ("127.0.0.1", "localhost", "::1")
        variable = self.key_variable
        return is_near or not variable or bool(os.environ.get(variable, "").strip())


def check_endpoint(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint if it can be used.

    Raises:
        InputError: a value is not allowed. What might be a key is not quoted.
    """
    endpoint = check(endpoint)
    if endpoint.name != UNNAMED:
        check_endpoint_name(endpoint.name)
    check_url(endpoint.base_url)
    if endpoint.key_variable and not KEY_VARIABLE.fullmatch(endpoint.key_variable):
        raise InputError(
            f"key_variable of the endpoint '{endpoint.name}' is not the name of a variable, such "
            "as OPENAI_API_KEY (not quoted here, as it may be a key). The key itself belongs into "
            "the environment."
        )
    return endpoint


def check_endpoint_name(name: str) -> str:
    """Return the name if an endpoint may have it, or raise an InputError that quotes it."""
    if not ENDPOINT_NAME.fullmatch(name):
        raise InputError(
            f"{name[:60]!r} cannot name an endpoint; use 2 to 40 of a-z, 0-9, '_' and '-', "
            "beginning with a letter."
        )
    if name in RESERVED:
        raise InputError(f"{name!r} cannot name an endpoint: it is reserved for another use.")
    return name


def check_url(url: str) -> str:
    """Return the address if a client can use it, or raise an InputError.

    An address that holds a user's name, a password or a query may hold a key, so it is not quoted.
    """
    try:
        parts = urlsplit(url)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_number = urlsplit(""), False
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            "The address of an endpoint must look like https://host/v1, without a user's name, a "
            "password or a query (not quoted here, as they may be a key)."
        )
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= 500
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not (port_is_number and plain)
    ):
        raise InputError(f"{url[:200]!r} is no address; it must look like https://host/v1")
    return url


def read_key(endpoint: Endpoint) -> str:
    """Return the endpoint's key from the environment; empty where there is none.

    Raises:
        InputError: it holds what no key has; the key itself is never quoted.
    """
    key = os.environ.get(endpoint.key_variable, "").strip() if endpoint.key_variable else ""
    if not _KEY.fullmatch(key):
        raise InputError(
            f"The key in {endpoint.key_variable} holds characters that no key has (not quoted)."
        )
    return key
