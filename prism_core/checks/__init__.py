"""Programs that look at an answer: one for each way in which an answer can be verified.

`CHECKS` lists them all. `run_check` cleans the answer (digits of any script, curly quotes, control
characters; IFEval wants it as it is), fails an empty one, and calls the program that a `Check`
names.
"""

from __future__ import annotations

from collections.abc import Callable

from prism_core.checks import extraction, formats
from prism_core.checks import text as read
from prism_core.checks.check import (
    Aspect,
    Check,
    Grade,
    MissingPackageError,
    Options,
    check_from_record,
    check_to_json,
)
from prism_core.checks.ifeval import grade_ifeval
from prism_core.checks.maths import grade_maths
from prism_core.checks.numeric import grade_number
from prism_core.checks.programs import grade_code
from prism_core.checks.text import clean
from prism_core.errors import InputError

CheckFunction = Callable[[Options, str], Grade]


def _all_of(options: Options, text: str) -> Grade:
    """Require every one of `checks`; the score is the mean of theirs."""
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
    "bullets": formats.counting("bullets", read.bullets),
    "numbered": formats.numbered,
    "sentences": formats.counting("sentences", read.sentences),
    "words": formats.counting("words", read.words),
    "lines": formats.counting("lines", read.lines),
    "paragraphs": formats.counting("paragraphs", read.paragraphs),
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
AS_IT_IS = frozenset({"ifeval"})
"""Checks that look at the answer to the letter, curly quotes included."""


def run_check(check: Check, text: str) -> Grade:
    """Check an answer.

    Raises:
        InputError: there is no such check, or one of its options is missing or of the wrong sort.
        MissingPackageError: the check needs a package that is not installed.
    """
    cleaned = clean(text)
    if not cleaned.strip():
        return Grade(0.0, False, "The answer is empty.")
    return _run(check, text if check.name in AS_IT_IS else cleaned)


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
