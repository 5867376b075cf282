"""A check as a value: which program looks at an answer, and with which options.

Items carry a `Check` in their file and in the store, so it is plain data: a name and JSON options.
What a name does is in `prism_core.checks`; what it measures is here, because a study must know
whether a passed check is a right answer (accuracy) or an obeyed wish about form (alignment).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prism_core.errors import PrismError
from prism_core.utils.validation import build

Aspect = Literal["accuracy", "alignment"]
Options = Mapping[str, Any]
"""What a check needs to know, as plain JSON values."""


class MissingPackageError(PrismError, ImportError):
    """A check needs a package that is not installed; the message says how to install it."""


@dataclass(frozen=True)
class Check:
    """A programmatic check of an answer."""

    name: str
    options: Options = field(default_factory=dict, hash=False)
    aspect: Aspect = "accuracy"
    """Whether passing means a right answer, or an obeyed wish about form or tone (alignment)."""


@dataclass(frozen=True)
class Grade:
    """What a program found about one answer."""

    score: float | None
    passed: bool | None
    """Whether everything asked for was met; None where no program can tell."""
    why: str


def pass_or_fail(passed: bool, why: str) -> Grade:
    """Grade all or nothing."""
    return Grade(float(passed), passed, why)


def check_to_json(check: Check) -> str:
    """Write a check as one line of JSON."""
    record = {"name": check.name, "options": dict(check.options), "aspect": check.aspect}
    return json.dumps(record, ensure_ascii=False, sort_keys=True)


def check_from_record(record: object) -> Check:
    """Read a check from parsed JSON, the record that `check_to_json` writes.

    Raises:
        InputError: a part is missing, unknown or of the wrong sort.
    """
    return build(Check, record, "A check")
