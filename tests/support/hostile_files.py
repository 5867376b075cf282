"""Hostile files, generated in memory: each is a sound file with one thing wrong.

A case is a name and the files of one folder. What a loader owes to each is one of our own errors;
a harmless one may load.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from prism_core.errors import PrismError

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Case:
    """One folder."""

    name: str
    files: Files
    may_load: bool = False
    """Whether loading it is no mistake: an odd file that harms nobody."""


ODD_VALUES: tuple[object, ...] = (None, True, "x", "", -1, 0, 10**30, 1.5, [], {}, [[]], "\0")
ODD_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999")
DEEP = "[" * 100_000 + "]" * 100_000
DEEP_OBJECT = '{"a":' * 50_000 + "1" + "}" * 50_000
NO_JSON: dict[str, bytes] = {
    "empty": b"",
    "blank": b"   \n",
    "cut off": b'{"a": [1, 2',
    "deep list": DEEP.encode(),
    "deep object": DEEP_OBJECT.encode(),
    "latin-1": '{"a": "ä"}'.encode("latin-1"),
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "binary": bytes(range(256)),
    "a list": b"[1, 2]",
    "a number": b"7",
    "a text": b'"text"',
    "null": b"null",
    "a huge number": b"9" * 10_000,
    "a lone surrogate": b'{"a": "\\ud800"}',
    "a NUL": b'{"a": "\\u0000"}',
    "twice the same key": b'{"a": 1, "a": 2}',
}
"""Contents of a file that should hold a JSON object of ours."""


def changed(data: Mapping[str, Any], path: Sequence[str], value: object) -> dict[str, Any]:
    """Return a copy of nested JSON data with one value replaced."""
    copy: dict[str, Any] = json.loads(json.dumps(data))
    place: Any = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


def places(data: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every value in nested objects."""
    for key, value in data.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from places(value, (*before, key))


def broken_json(name: str, files: Files) -> Iterator[Case]:
    """Yield the folder with each sort of broken JSON as the file `name`."""
    for what, content in NO_JSON.items():
        yield Case(f"{name} is {what}", {**files, name: content})
    yield Case(f"{name} is missing", {k: v for k, v in files.items() if k != name})


def odd_fields(
    name: str, files: Files, fields: Sequence[tuple[str, ...]] | None = None
) -> Iterator[Case]:
    """Yield the folder with each field of the JSON file `name` replaced by odd values."""
    data = json.loads(files[name])
    for path in fields or list(places(data)):
        for value in ODD_VALUES:
            text = json.dumps(changed(data, path, value))
            yield Case(
                f"{name} {'.'.join(path)} = {value!r:.20}", {**files, name: text.encode()}, True
            )
        for number in ODD_NUMBERS:
            text = json.dumps(changed(data, path, "@@")).replace('"@@"', number)
            what = f"{name} {'.'.join(path)} = {number}"
            yield Case(what, {**files, name: text.encode()}, True)


def odd_tensors(
    name: str, files: Files, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]
) -> Iterator[Case]:
    """Yield the folder with a safetensors file whose first tensors are wrong in one way."""

    def case(what: str, changes: Mapping[str, torch.Tensor | None]) -> Case:
        made = {k: v for k, v in {**tensors, **changes}.items() if v is not None}
        return Case(f"{name}: {what}", {**files, name: save(made, metadata)})

    for key in sorted(tensors)[:3]:
        good = tensors[key]
        shape = tuple(good.shape)
        for label, value in (
            ("NaN", torch.nan),
            ("infinity", torch.inf),
            ("-infinity", -torch.inf),
        ):
            bad = good.clone()
            bad.view(-1)[0] = value
            yield case(f"{key} has {label}", {key: bad})
        if good.dim() > 1:
            yield case(f"{key} is flat", {key: good.reshape(-1).clone()})
        yield case(f"{key} is a scalar", {key: torch.tensor(1.0)})
        yield case(f"{key} has three dimensions", {key: good[None].clone()})
        yield case(f"{key} is empty", {key: torch.zeros(0)})
        yield case(f"{key} is empty along its width", {key: torch.zeros(*shape[:-1], 0)})
        yield case(f"{key} is too long", {key: torch.zeros(shape[0] + 1, *shape[1:])})
        yield case(
            f"{key} is turned",
            {key: good.t().contiguous() if good.dim() == 2 else torch.zeros(3, 3)},
        )
        yield case(f"{key} holds whole numbers", {key: torch.zeros(shape, dtype=torch.int64)})
        yield case(f"{key} holds booleans", {key: torch.zeros(shape, dtype=torch.bool)})
        yield case(f"{key} is complex", {key: torch.zeros(shape, dtype=torch.complex64)})
        yield case(f"{key} is missing", {key: None})
    yield case("no tensors", dict.fromkeys(tensors))
    yield case("a foreign tensor beside", {"foreign.weight": torch.zeros(2, 2)})


def broken_safetensors(name: str, files: Files, seed: int = 0) -> Iterator[Case]:
    """Yield the folder with a safetensors file that is damaged as a file."""
    good, rng = files[name], random.Random(seed)
    size = struct.unpack("<Q", good[:8])[0]
    header = good[8 : 8 + size]
    for keep in (0, 1, 7, 8, 9, 8 + size // 2, 8 + size, len(good) - 1):
        yield Case(f"{name} ends after {keep} bytes", {**files, name: good[:keep]})
    for told in (0, 1, 2**31, 2**63, 2**64 - 1):
        yield Case(f"{name} tells {told}", {**files, name: struct.pack("<Q", told) + good[8:]})
    for what, content in NO_JSON.items():
        data = struct.pack("<Q", len(content)) + content + good[8 + size :]
        yield Case(f"{name} has a header that is {what}", {**files, name: data})
    for field, value in (
        ("dtype", "F1024"),
        ("shape", [-1]),
        ("shape", [2**62, 2**62]),
        ("shape", "x"),
        ("data_offsets", [0, 2**60]),
        ("data_offsets", [8, 0]),
        ("data_offsets", []),
        ("dtype", None),
    ):
        data = json.loads(header)
        first = next(key for key in data if key != "__metadata__")
        data[first][field] = value
        text = json.dumps(data).encode()
        yield Case(
            f"{name} has {field} {value!r}",
            {**files, name: struct.pack("<Q", len(text)) + text + good[8 + size :]},
        )
    for _ in range(12):
        noise = bytearray(good)
        for _ in range(8):
            noise[rng.randrange(8 + size)] = rng.randrange(256)
        yield Case(f"{name} has noise in its header", {**files, name: bytes(noise)}, True)
    yield Case(
        f"{name} is a pickle",
        {**files, name: b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n(S'true'\ntR."},
    )
    yield Case(f"{name} is missing", {k: v for k, v in files.items() if k != name})


def escapes(
    cases: Sequence[Case], folder: Path, load: Callable[[Path], object]
) -> tuple[list[str], int]:
    """Load each case; say which ended in another error than ours, or in none where one is due.

    Returns them, and how many cases there were.
    """
    found = []
    for number, case in enumerate(cases):
        place = folder / f"case-{number}"
        place.mkdir()
        for name, content in case.files.items():
            (place / name).write_bytes(content)
        try:
            load(place)
        except PrismError as error:
            if not str(error).strip():
                found.append(f"{case.name}: an error without a sentence")
        except Exception as error:
            found.append(f"{case.name}: {type(error).__name__}: {str(error)[:200]}")
        else:
            if not case.may_load:
                found.append(f"{case.name}: it was loaded")
    return found, len(cases)
