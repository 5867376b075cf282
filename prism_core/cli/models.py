"""`python -m prism_core models`: the models that can be asked here."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass

from prism_core.cli.output import clean_stdout, emit_json
from prism_core.models.sources import REMOTE


@dataclass(frozen=True)
class KnownModel:
    """A model that `--model` accepts."""

    reference: str
    """What to write after `--model`."""
    name: str
    """The name shown to people."""
    ready: bool
    """Whether it is on this machine already."""
    note: str
    """Where it comes from."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser("models", help="list the models", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the embedded model, those in the Hub's cache and the remote endpoint, if any."""
    with clean_stdout():
        known = known_models()
    if args.json:
        emit_json({"models": [asdict(m) for m in known]})
        return 0
    width = max(len(m.reference) for m in known)
    for m in known:
        state = "ready" if m.ready else "fetched on first use"
        print(f"{m.reference:<{width}}  {m.name} ({m.note}; {state})")
    print("A Hub id, a folder with safetensors or a .gguf file can be given as well.")
    return 0


def known_models() -> list[KnownModel]:
    """What can be named without knowing a path or a Hub id."""
    from prism_core.models.embedded import LABEL
    from prism_core.utils.cache_folder import cache_dir, damage

    ready = damage(cache_dir() / "models" / LABEL) is None
    known = [KnownModel("embedded", LABEL, ready, "comes with PRISM Studio")]
    known += [KnownModel(n, n.split("/")[-1], True, "Hub cache") for n in _cached_hub_models()]
    if url := os.environ.get("PRISM_REMOTE_URL", "").strip():
        known.append(KnownModel(f"{REMOTE}NAME", "any model of the endpoint", True, url))
    return known


def _cached_hub_models() -> list[str]:
    """Ids of the models in the Hub's cache that have safetensors."""
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
