"""Programs that look at an answer: one for each way in which an answer can be verified.

`CHECKS` is the list of all there are. `run_check` cleans the answer (digits of any script, curly
quotes, control characters), refuses what is empty, and calls the one that a `Check` names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prism_core.checks import extraction, formats
from prism_core.checks.check import Aspect, Check, Grade, check_from_record, check_to_json
from prism_core.checks.ifeval import grade_ifeval
from prism_core.checks.maths import MissingPackageError, grade_maths
from prism_core.checks.numeric import grade_number
from prism_core.checks.programs import grade_code
from prism_core.checks.text import clean
from prism_core.errors import InputError

CheckFunction = Callable[[Mapping[str, Any], str], Grade]


def _all_of(options: Mapping[str, Any], text: str) -> Grade:
    """Every one of `checks`; the score is the mean of theirs."""
    grades = [_run(check_from_record(record), text) for record in options["checks"]]
    failed = [g.why for g in grades if not g.passed]
    score = sum(g.score or 0.0 for g in grades) / len(grades)
    return Grade(score, not failed, " ".join(failed) or "Everything that was asked for is met.")


CHECKS: dict[str, CheckFunction] = {
    "number": grade_number,
    "maths": grade_maths,
    "code": grade_code,
    "label": extraction.label,
    "list": extraction.same_list,
    "json": extraction.json_object,
    "table": extraction.table,
    "contains_all": formats.contains_all,
    "contains_none": formats.contains_none,
    "bullets": formats.bullets,
    "numbered": formats.numbered,
    "sentences": formats.sentence_count,
    "words": formats.word_count,
    "lines": formats.line_count,
    "paragraphs": formats.paragraph_count,
    "lower_case": formats.lower_case,
    "upper_case": formats.upper_case,
    "starts_with": formats.starts_with,
    "ends_with": formats.ends_with,
    "no_character": formats.no_character,
    "character_count": formats.character_count,
    "acrostic": formats.acrostic,
    "ifeval": grade_ifeval,
    "all_of": _all_of,
}
"""Every check by name."""


def run_check(check: Check, text: str) -> Grade:
    """Check an answer.

    Raises:
        InputError: there is no such check, or an option it needs is missing or of the wrong sort.
        MissingPackageError: it needs a package that is not installed.
    """
    text = clean(text)
    if not text.strip():
        return Grade(0.0, False, "The answer is empty.")
    return _run(check, text)


def _run(check: Check, text: str) -> Grade:
    function = CHECKS.get(check.name)
    if function is None:
        raise InputError(f"There is no check '{check.name[:60]}'; there are {', '.join(CHECKS)}.")
    try:
        return function(check.options, text)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"The options of check '{check.name}' do not fit: {type(error).__name__} {error}."
        ) from error


__all__ = [
    "CHECKS",
    "Aspect",
    "Check",
    "Grade",
    "MissingPackageError",
    "check_from_record",
    "check_to_json",
    "run_check",
]
