"""Read the header of a GGUF file before transformers does, which believes every number in it.

The header names its parts with lengths of 64 bits; a damaged one asks for more memory than there is
or keeps the reader busy for ever. Here every length has to lie within the file, and the sizes of
the model within reason. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from prism_core.errors import ModelError
from prism_core.models.config_check import check_sizes

MAX_PARTS = 100_000
"""Metadata entries, and tensors; the largest models have a few thousand."""
MAX_NESTING = 4
_NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_SIZES = {
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "context_length": "max_position_embeddings",
}
_NEEDED = ("block_count", "attention.head_count", "embedding_length")


def check_gguf(path: Path) -> None:
    """Refuse a file whose header no model can have.

    Raises:
        ModelError: the file cannot be read, is no GGUF file, or a number in it is out of range.
    """
    try:
        with path.open("rb") as file:
            metadata = _Header(file, path.stat().st_size).read()
    except (OSError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise ModelError(f"{path.name} cannot be read as a GGUF model: {error}") from error
    kind = metadata.get("general.architecture")
    if not isinstance(kind, str):
        raise ModelError(f"{path.name} does not say which architecture it has")
    sizes = {ours: metadata.get(f"{kind}.{name}") for name, ours in _SIZES.items()}
    for name in _NEEDED:
        if sizes[_SIZES[name]] is None:
            raise ModelError(f"{path.name} lacks '{kind}.{name}'")
    # Some models give a number for each layer; transformers checks those.
    check_sizes({k: v for k, v in sizes.items() if not isinstance(v, list)}, path.name)


class _Header:
    """Reads a header from its start; no length may point past the end of the file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def read(self) -> Mapping[str, Any]:
        """Return the metadata; of an array, the numbers of a short one, else nothing."""
        if self._take(4) != b"GGUF":
            raise ValueError("it does not begin with 'GGUF'")
        version = self._number("I")
        if version not in (2, 3):
            raise ValueError(f"it has version {version}; 2 and 3 are known")
        tensors, entries = self._count(), self._count()
        metadata = {}
        for _ in range(entries):
            key = self._text()
            metadata[key] = self._value(self._number("I"), 0)
        for _ in range(tensors):
            self._text()
            dimensions = self._number("I")
            if not 1 <= dimensions <= 4:
                raise ValueError(f"a tensor has {dimensions} dimensions")
            self._take(8 * dimensions + 4 + 8)
        return metadata

    def _take(self, size: int) -> bytes:
        if size > self._left:
            raise ValueError("it is cut off, or a length in it is wrong")
        self._left -= size
        return self._file.read(size)

    def _number(self, code: str) -> Any:
        form = f"<{code}"
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _count(self) -> int:
        count = int(self._number("Q"))
        if count > MAX_PARTS:
            raise ValueError(f"it tells of {count:,} parts")
        return count

    def _text(self) -> str:
        return self._take(self._number("Q")).decode("utf-8")

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY or depth > MAX_NESTING:
            raise ValueError(f"it has a value of the unknown type {kind}")
        inner, count = self._number("I"), self._number("Q")
        if inner in _NUMBERS:
            self._take(count * struct.calcsize(f"<{_NUMBERS[inner]}"))
            return []
        if count > self._left:  # each takes a byte at least
            raise ValueError("an array is longer than the file")
        for _ in range(count):
            self._value(inner, depth + 1)
        return []
