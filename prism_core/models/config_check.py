"""Look at a model's `config.json` before transformers does, which believes every number in it.

A configuration with 10^30 layers keeps transformers busy for ever, one with no heads divides by
zero, and one that is nested too deeply ends the interpreter's stack. A few ranges are enough: what
lies within them and is still wrong, the weights' own shapes contradict.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prism_core.errors import InputError, ModelError
from prism_core.storage import loads

MAX_CONFIG_BYTES = 10_000_000
_RANGES: Mapping[str, tuple[int, int]] = {
    "num_hidden_layers": (1, 1_000),
    "num_attention_heads": (1, 10_000),
    "num_key_value_heads": (1, 10_000),
    "head_dim": (1, 100_000),
    "hidden_size": (1, 1_000_000),
    "intermediate_size": (1, 10_000_000),
    "vocab_size": (1, 100_000_000),
    "max_position_embeddings": (1, 10**9),
}
"""Field -> least and largest value; a model may leave a field out, or say null."""


def check_config(folder: Path, label: str) -> None:
    """Refuse a configuration that no model can have.

    Raises:
        ModelError: `config.json` cannot be read, or one of its sizes is out of range.
    """
    path = folder / "config.json"
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(f"config.json of {label!r} is larger than {MAX_CONFIG_BYTES:,} bytes")
        config = loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise ModelError(f"config.json of {label!r} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"config.json of {label!r} is no JSON object")
    for part in (config, config.get("text_config")):
        if isinstance(part, dict):
            check_sizes(part, label)


def check_sizes(config: Mapping[str, Any], label: str) -> None:
    """Refuse sizes out of range, and heads that cannot be shared out, by a ModelError."""
    for name, (low, high) in _RANGES.items():
        value = config.get(name)
        if value is not None and (type(value) is not int or not low <= value <= high):
            raise ModelError(
                f"{label!r} has {name} {str(value)[:40]!r}; it must be from {low} to {high:,}"
            )
    heads, shared = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if heads and shared and heads % shared:
        raise ModelError(f"{label!r} has {heads} heads for {shared} key-value heads, no multiple")
