"""`prism models`: the models that can be asked here."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass

from prism_core.cli.options import add_json
from prism_core.cli.output import clean_stdout, emit_json


@dataclass(frozen=True)
class KnownModel:
    """A model that `--model` accepts."""

    reference: str
    """What to write after `--model`."""
    name: str
    ready: bool
    note: str
    """Where it comes from."""


HELP = "list the models"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """List the embedded model, those in the Hub's cache and the remote endpoint, if any."""
    with clean_stdout():
        known = known_models()
    if args.json:
        emit_json({"models": [asdict(m) for m in known]})
        return
    width = max(len(m.reference) for m in known)
    for m in known:
        state = "ready" if m.ready else "fetched on first use"
        print(f"{m.reference:<{width}}  {m.name} ({m.note}; {state})")
    print("A Hub id, a folder with safetensors or a .gguf file can be given as well.")


def known_models() -> list[KnownModel]:
    """Return what can be named without knowing a path or a Hub id."""
    from prism_core.models.embedded import LABEL
    from prism_core.utils.cache_folder import cache_dir, damage

    ready = damage(cache_dir() / "models" / LABEL) is None
    known = [KnownModel("embedded", LABEL, ready, "comes with PRISM Studio")]
    known += [KnownModel(n, n.split("/")[-1], True, "Hub cache") for n in _cached_hub_models()]
    if url := os.environ.get("PRISM_REMOTE_URL", "").strip():
        known.append(KnownModel("remote:NAME", "any model of the endpoint", True, url))
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
