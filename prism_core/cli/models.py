"""`prism models`: the models that can be asked here."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass

from prism_core.cli.options import add_json
from prism_core.cli.output import clean_stdout, emit_json, one_line
from prism_core.errors import InputError


@dataclass(frozen=True)
class KnownModel:
    """A model that `--model` accepts."""

    reference: str
    """What to write after `--model`."""
    name: str
    ready: bool
    note: str
    """Where it comes from."""


HELP = "list the models, or what an endpoint has"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    parser.add_argument(
        "--endpoint", metavar="NAME", help="list the models of an endpoint, such as openai"
    )
    parser.add_argument(
        "--probe", metavar="MODEL", help="with --endpoint: find out what a model there can do"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """List what can be asked here, list an endpoint's models, or probe one of them."""
    if args.probe is not None and args.endpoint is None:
        raise InputError(f"--probe {args.probe} needs --endpoint NAME, where the model is.")
    if args.probe is not None:
        _run_probe(args.endpoint, args.probe, args.json)
    elif args.endpoint is not None:
        _run_list(args.endpoint, args.json)
    else:
        _run_known(args.json)


def _run_known(as_json: bool) -> None:
    with clean_stdout():
        known = known_models()
    if as_json:
        emit_json({"models": [asdict(m) for m in known]})
        return
    width = max(len(m.reference) for m in known)
    for m in known:
        missing = "key not set" if m.reference.endswith(":MODEL") else "fetched on first use"
        print(f"{m.reference:<{width}}  {m.name} ({m.note}; {'ready' if m.ready else missing})")
    print("A Hub id, a folder with safetensors or a .gguf file can be given as well.")


def _run_list(name: str, as_json: bool) -> None:
    from prism_core.models.remote import find_endpoint
    from prism_core.models.remote.client import Client

    found = [f"{name}:{model}" for model in Client(find_endpoint(name)).models()]
    if as_json:
        emit_json({"endpoint": name, "models": found})
    else:
        print("\n".join(one_line(reference) for reference in found))


def _run_probe(name: str, model: str, as_json: bool) -> None:
    from prism_core.models.remote import RemoteGenerator, find_endpoint

    probe = RemoteGenerator(find_endpoint(name), model).probe()
    if as_json:
        emit_json({**asdict(probe), "sentence": probe.sentence})
    else:
        print("\n".join(one_line(text) for text in (probe.sentence, *probe.notes)))


def known_models() -> list[KnownModel]:
    """Return what can be named without knowing a path, a Hub id or an endpoint's model."""
    from prism_core.models.embedded import LABEL
    from prism_core.models.remote.catalogue import load_endpoints, unnamed_endpoint
    from prism_core.utils.cache_folder import cache_dir, damage

    ready = damage(cache_dir() / "models" / LABEL) is None
    known = [KnownModel("embedded", LABEL, ready, "comes with PRISM Studio")]
    known += [KnownModel(n, n.split("/")[-1], True, "Hub cache") for n in _cached_hub_models()]
    endpoints = list(load_endpoints().values())
    if os.environ.get("PRISM_REMOTE_URL", "").strip():
        endpoints.insert(0, unnamed_endpoint())
    for one in endpoints:
        key = f"{one.base_url}, {one.key_variable}" if one.key_variable else one.base_url
        known.append(KnownModel(f"{one.name}:MODEL", f"a model of {one.host}", one.has_key, key))
    return known


def _cached_hub_models() -> list[str]:
    """Return the ids of the models in the Hub's cache that have safetensors."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted(
        r.repo_id
        for r in repos
        if r.repo_type == "model"
        and any(f.file_name.endswith(".safetensors") for v in r.revisions for f in v.files)
    )
