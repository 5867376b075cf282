"""Which endpoints there are: ten usual services, and what `endpoints.yaml` adds and changes.

The file lies in the data folder; `PRISM_ENDPOINTS` names another one. It maps a name to
what differs from the ready-made entry of that name, or to a whole endpoint:

    openai:
      concurrency: 16
      prices:
        some-model: {input: 1.0, output: 4.0, date: 2026-11-25, source: https://...}
    cluster:
      base_url: http://10.0.0.7:8000/v1
      key_variable: CLUSTER_KEY

Prices are never shipped: they change, and a wrong one is worse than an unknown one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.models.remote.endpoint import UNNAMED, Endpoint, check_endpoint, check_endpoint_name
from prism_core.storage.folders import data_dir, make_folder
from prism_core.utils.durable import replacing
from prism_core.utils.plain_yaml import plain_documents
from prism_core.utils.validation import build

VARIABLE = "PRISM_ENDPOINTS"
FILE_NAME = "endpoints.yaml"
MAX_ENDPOINTS = 200
READY_MADE: Mapping[str, Endpoint] = {
    one.name: one
    for one in (
        Endpoint("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
        Endpoint("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
        Endpoint(
            "gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"
        ),
        Endpoint("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        Endpoint("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN"),
        Endpoint("vllm", "http://127.0.0.1:8000/v1", "VLLM_API_KEY"),
        Endpoint("ollama", "http://127.0.0.1:11434/v1", concurrency=4),
        Endpoint("lmstudio", "http://127.0.0.1:1234/v1", concurrency=4),
        Endpoint("llamacpp", "http://127.0.0.1:8080/v1", "LLAMA_API_KEY", concurrency=4),
        Endpoint("transformers", "http://127.0.0.1:8000/v1", concurrency=1),
    )
}
"""The usual services at their usual addresses."""


def endpoints_file() -> Path:
    """Return where the file of endpoints is, or would be."""
    chosen = os.environ.get(VARIABLE, "").strip()
    return Path(chosen).expanduser().absolute() if chosen else data_dir() / FILE_NAME


def load_endpoints() -> dict[str, Endpoint]:
    """Return all endpoints by name: the ready-made ones, changed and added to by the file.

    Raises:
        NotFoundError: `PRISM_ENDPOINTS` names a file that is not there.
        InputError: the file breaks the format; the message says where.
    """
    path = endpoints_file()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if os.environ.get(VARIABLE, "").strip():
            raise NotFoundError(
                f"There is no file {str(path)!r}, which {VARIABLE} names."
            ) from None
        return dict(READY_MADE)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The endpoints in {str(path)!r} cannot be read: {error}") from error
    return dict(READY_MADE) | parse_endpoints(text)


def parse_endpoints(text: str) -> dict[str, Endpoint]:
    """Read the endpoints of a YAML text, each on top of the ready-made one of its name.

    Raises:
        InputError: it breaks the format. What might be a key is not quoted.
    """
    documents = plain_documents(text)
    if not documents:
        return {}
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise InputError("The file of endpoints must be one YAML mapping from names to endpoints.")
    if len(documents[0]) > MAX_ENDPOINTS:
        raise InputError(f"There are more than {MAX_ENDPOINTS} endpoints.")
    return {name: _endpoint(name, entry) for name, entry in documents[0].items()}


def find_endpoint(name: str) -> Endpoint:
    """Return the endpoint of that name; `remote` is the one that the environment describes.

    Raises:
        NotFoundError: there is none; the message lists those there are.
        InputError: `PRISM_REMOTE_URL` is missing or malformed, or the file breaks the format.
    """
    if name == UNNAMED:
        return unnamed_endpoint()
    known = load_endpoints()
    if name not in known:
        raise NotFoundError(
            f"There is no endpoint {name[:60]!r}; there are {', '.join(known)}. "
            f"Others are named in {endpoints_file()}."
        )
    return known[name]


def unnamed_endpoint() -> Endpoint:
    """Return the endpoint at `PRISM_REMOTE_URL` with the key in `PRISM_REMOTE_KEY`.

    Raises:
        InputError: the address is missing or malformed.
    """
    url = os.environ.get("PRISM_REMOTE_URL", "").strip()
    if not url:
        raise InputError("PRISM_REMOTE_URL is not set; it must look like https://host/v1")
    return check_endpoint(Endpoint(UNNAMED, url, "PRISM_REMOTE_KEY"))


def save_endpoint(endpoint: Endpoint) -> Path:
    """Write an endpoint into the file in place of the one of its name, whole or not at all.

    Raises:
        InputError: a value is not allowed, or the file breaks the format.
        StorageError: the file cannot be written.
    """
    check_endpoint_name(endpoint.name)
    path = endpoints_file()
    try:
        own = parse_endpoints(path.read_text(encoding="utf-8")) if path.is_file() else {}
        own[endpoint.name] = check_endpoint(endpoint)
        make_folder(path.parent)
        with replacing(path) as partial:
            partial.touch(mode=0o600)
            partial.write_text(to_yaml(own), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{str(path)!r} cannot be written: {error.strerror}.") from error
    return path


def to_yaml(endpoints: Mapping[str, Endpoint]) -> str:
    """Return endpoints as YAML that `parse_endpoints` reads back."""
    data = {name: _differences(endpoint) for name, endpoint in endpoints.items()}
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=96)


def _endpoint(name: str, entry: object) -> Endpoint:
    check_endpoint_name(name)
    if not isinstance(entry, dict):
        raise InputError(f"The endpoint '{name}' must be a mapping with base_url and so on.")
    if "name" in entry:
        raise InputError(f"The endpoint '{name}' has its name twice; it stands before the colon.")
    ready = READY_MADE.get(name)
    given: dict[str, Any] = {} if ready is None else asdict(ready)
    given |= {"name": name, **entry}
    if given.get("key_variable") is None:
        given["key_variable"] = ""
    return check_endpoint(build(Endpoint, given, f"{name}.", texts=True))


def _differences(endpoint: Endpoint) -> dict[str, Any]:
    """Return what the file must say of an endpoint, as plain data."""
    base = READY_MADE.get(endpoint.name) or Endpoint(endpoint.name, "")
    plain, usual = asdict(endpoint), asdict(replace(base))
    found = {key: value for key, value in plain.items() if value != usual[key] and key != "name"}
    if "limits" in found:
        found["limits"] = {k: v for k, v in found["limits"].items() if v is not None}
    return found
