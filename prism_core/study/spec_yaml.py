"""A study's spec as YAML: what a person writes in an editor, and what the page offers to download.

YAML is read as texts alone (`plain_yaml`) and every field by its own reader, so that a mistake is
named with its field. What one task needs differently stands beside its name, as does an adapter's
threshold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import yaml

from prism_core.errors import InputError
from prism_core.study.spec import AdapterArm, StudySpec, TaskLimit, check_spec
from prism_core.utils.plain_yaml import plain_documents

MAX_YAML_CHARACTERS = 400_000
"""A longer text is no spec."""


def from_yaml(text: str) -> StudySpec:
    """Read a spec; fields left out keep their defaults.

    A task is a name, or a mapping with `name` and what it needs differently; an adapter is a name,
    or a mapping with `reference` and `threshold`.

    Raises:
        InputError: not plain YAML, an unknown field, or a value that is not allowed.
    """
    if len(text) > MAX_YAML_CHARACTERS:
        raise InputError(f"The spec has {len(text):,} characters; that is too long for one.")
    documents = plain_documents(text)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise InputError("A study's spec must be one YAML mapping with name, tasks, personas ...")
    given: dict[str, Any] = {}
    for key, value in documents[0].items():
        if key not in _READERS:
            raise InputError(f"A spec has no field {key[:60]!r}; it has {', '.join(_READERS)}.")
        given[key] = _READERS[key](key, value)
    limits = given.pop("limits", ())
    if "tasks" in given:
        pairs = given["tasks"]
        given["tasks"] = tuple(name for name, _ in pairs)
        limits += tuple(limit for _, limit in pairs if limit is not None)
    return check_spec(replace(StudySpec(), limits=limits, **given))


def to_yaml(spec: StudySpec) -> str:
    """The spec as YAML that `from_yaml` reads back."""
    data: dict[str, Any] = {}
    for field in fields(StudySpec):
        value = getattr(spec, field.name)
        if field.name == "tasks":
            value = [_task_data(spec, task) for task in value]
        elif field.name == "adapters":
            value = [_adapter_data(arm) for arm in value]
        elif field.name == "limits":
            continue
        data[field.name] = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=96)


def _task_data(spec: StudySpec, task: str) -> Any:
    limit = next((one for one in spec.limits if one.task == task), None)
    if limit is None:
        return task
    own = {"n_per_category": limit.n_per_category, "max_new_tokens": limit.max_new_tokens}
    return {"name": task, **{key: value for key, value in own.items() if value is not None}}


def _adapter_data(arm: AdapterArm) -> Any:
    if arm.threshold is None:
        return arm.reference
    return {"reference": arm.reference, "threshold": arm.threshold}


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{key} must be a text, not {_kind(value)}.")
    return value


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise InputError(f"{key} must be a list of texts, not {_kind(value)}.")
    return tuple(_text(key, one) for one in value)


def _whole(key: str, value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,12}", value.strip()):
        raise InputError(f"{key} is {str(value)[:60]!r}; it must be a whole number.")
    return int(value)


def _wholes(key: str, value: Any) -> tuple[int, ...]:
    return tuple(_whole(key, one) for one in _texts(key, value))


def _real(key: str, value: Any) -> float:
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(r"-?\d{1,12}(\.\d{0,12})?([eE]-?\d{1,2})?", text):
        raise InputError(f"{key} is {str(value)[:60]!r}; it must be a number.")
    return float(text)


def _flag(key: str, value: Any) -> bool:
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in ("true", "yes", "false", "no"):
        raise InputError(f"{key} is {str(value)[:60]!r}; it must be true or false.")
    return word in ("true", "yes")


def _tasks(key: str, value: Any) -> tuple[tuple[str, TaskLimit | None], ...]:
    found: list[tuple[str, TaskLimit | None]] = []
    for one in [value] if isinstance(value, str | dict) else _list(key, value):
        if isinstance(one, str):
            found.append((one, None))
            continue
        data = _known(key, one, ("name", "n_per_category", "max_new_tokens"), "name")
        numbers = {k: _whole(k, v) for k, v in data.items() if k != "name"}
        found.append((data["name"], TaskLimit(data["name"], **numbers)))
    return tuple(found)


def _adapters(key: str, value: Any) -> tuple[AdapterArm, ...]:
    found = []
    for one in [value] if isinstance(value, str | dict) else _list(key, value):
        if isinstance(one, str):
            found.append(AdapterArm(one))
            continue
        data = _known(key, one, ("reference", "threshold"), "reference")
        given = data.get("threshold")
        found.append(
            AdapterArm(data["reference"], None if given is None else _real("threshold", given))
        )
    return tuple(found)


def _list(key: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"{key} must be a list, not {_kind(value)}.")
    return value


def _known(key: str, value: Any, names: tuple[str, ...], needed: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get(needed), str):
        raise InputError(f"{key} holds {str(value)[:60]!r}; a mapping needs '{needed}'.")
    for name in value:
        if name not in names:
            raise InputError(f"{key} has no field {name[:40]!r}; it has {', '.join(names)}.")
    return value


def _kind(value: Any) -> str:
    return {list: "a list", dict: "a mapping", type(None): "nothing"}.get(type(value), "a text")


_READERS: Mapping[str, Any] = {
    "name": _text,
    "tasks": _tasks,
    "personas": _texts,
    "own_personas": _texts,
    "lengths": _texts,
    "placements": _texts,
    "adapters": _adapters,
    "sweep": _flag,
    "models": _texts,
    "n_per_category": _whole,
    "item_seed": _whole,
    "seeds": _wholes,
    "max_new_tokens": _whole,
    "temperature": _real,
    "top_p": _real,
    "scoring": _text,
    "judges": _texts,
    "judgements": _texts,
    "delta": _real,
    "executor": _text,
}
