"""Fetch a model's safetensors and tokenizer from the Hugging Face Hub.

Only data files are asked for: weights as safetensors, JSON, templates and vocabularies. Python
files, pickles and other people's conversions in subfolders never reach the disk.
"""

from __future__ import annotations

from pathlib import Path

from prism_core.errors import ModelError

WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]


def snapshot(reference: str) -> Path:
    """Download `org/name` or `org/name@revision`; the folder's name is the commit.

    Raises:
        ModelError: the Hub cannot be reached, has no such model, or it has no safetensors.
    """
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    name, _, revision = reference.partition("@")
    try:
        path = snapshot_download(
            name, revision=revision or None, allow_patterns=WANTED, ignore_patterns=["*/*"]
        )
    except (OSError, HTTPError, HFValidationError) as error:
        lines = str(error).strip().splitlines()
        said = lines[0] if lines else type(error).__name__
        raise ModelError(f"{reference!r} could not be fetched: {said}.") from error
    folder = Path(path)
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{reference!r} has no safetensors weights; no other format is loaded.")
    return folder
