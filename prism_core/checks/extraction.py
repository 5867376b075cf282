"""Checks of what can be picked out of a text: labels, lists, JSON objects and tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from prism_core.checks import text as read
from prism_core.checks.check import Grade, Options, pass_or_fail
from prism_core.checks.numeric import parse_number

_MAX_JSON = 100_000


def label(options: Options, text: str) -> Grade:
    """Take the last of `allowed` that is named, as whole words, for the answer.

    Two in one breath ("yes and no", "Monday or Tuesday") are no answer.
    """
    folded = text.casefold()
    allowed = sorted((str(a).casefold() for a in options["allowed"]), key=len, reverse=True)
    pattern = "|".join(re.escape(a) for a in allowed)
    before, last = None, None
    for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", folded):
        before, last = last, match
    if last is None:
        return pass_or_fail(False, f"No label is named; '{options['answer']}' was expected.")
    if before is not None and before[0] != last[0]:
        between = folded[before.end() : last.start()][:20].strip(" ,*\"'")
        if between in ("and", "or", "/", "and/or"):
            return pass_or_fail(False, f"It named both '{before[0]}' and '{last[0]}'.")
    ok = last[0] == str(options["answer"]).casefold()
    return pass_or_fail(ok, f"It said '{last[0]}'; '{options['answer']}' was expected.")


def same_list(options: Options, text: str) -> Grade:
    """Require exactly the entries `values`, in that order if `ordered`."""
    wanted = [read.normal(str(v)) for v in options["values"]]
    found = read.entries(read.unfenced(text))
    is_ordered = bool(options.get("ordered", False))
    ok = found == wanted if is_ordered else sorted(found) == sorted(wanted)
    right = len(set(found) & set(wanted))
    return pass_or_fail(ok, f"{right} of {len(wanted)} expected entries, {len(found)} were given.")


def json_object(options: Options, text: str) -> Grade:
    """Require a JSON object with exactly `keys`, or with the given `values`."""
    found = _first_object(text)
    if found is None:
        return pass_or_fail(False, "There is no JSON object in the answer.")
    values: Mapping[str, Any] = options.get("values", {})
    keys = set(options.get("keys", values))
    if set(found) != keys:
        return pass_or_fail(False, f"The keys are {sorted(found)[:12]}; wanted {sorted(keys)}.")
    wrong = sorted(k for k, v in values.items() if not _same(found[k], v))
    if wrong:
        share = 1 - len(wrong) / len(values)
        return Grade(share, False, f"Wrong values: {', '.join(wrong)}.")
    return pass_or_fail(True, "The JSON object is as asked for.")


def _first_object(text: str) -> dict[str, Any] | None:
    """Return the first JSON object of a text, in a code fence or not; None without one."""
    body = read.unfenced(text)[:_MAX_JSON]
    start = body.find("{")
    tries = 0
    while start >= 0 and tries < 20:
        try:
            value, _ = json.JSONDecoder().raw_decode(body, start)
        except (ValueError, RecursionError):
            start, tries = body.find("{", start + 1), tries + 1
            continue
        return value if isinstance(value, dict) else None
    return None


def _same(found: object, wanted: object) -> bool:
    """Whether two values are equal as numbers, as texts without case and marks, or by entry."""
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_same(f, w) for f, w in zip(found, wanted, strict=True))
        )
    if isinstance(wanted, bool) or isinstance(found, bool):
        return found is wanted
    if isinstance(wanted, int | float):
        number = parse_number(str(found)) if isinstance(found, int | float | str) else None
        return number is not None and number == parse_number(str(wanted))
    return isinstance(found, str | int | float) and read.normal(str(found)) == read.normal(
        str(wanted)
    )


def table(options: Options, text: str) -> Grade:
    """Require a Markdown table with these `columns` (names) and `rows` (count below the head)."""
    rows = [line for line in read.lines(text) if line.count("|") >= 2]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in rows]
    is_rule = [all(re.fullmatch(r":?-+:?", c) for c in line) for line in cells]
    if len(cells) < 2 or not is_rule[1]:
        return pass_or_fail(False, "There is no Markdown table with a head and a rule below it.")
    head = [read.normal(c) for c in cells[0]]
    wanted = [read.normal(c) for c in options["columns"]]
    if head != wanted:
        return pass_or_fail(False, f"The columns are {head[:8]}; wanted {wanted}.")
    body = [c for c, rule in zip(cells[1:], is_rule[1:], strict=True) if not rule]
    count, n = len(body), options.get("rows")
    ok = (n is None or count == n) and all(len(c) == len(wanted) for c in body)
    return pass_or_fail(ok, f"{count} rows; wanted {n if n is not None else 'any number'}.")
