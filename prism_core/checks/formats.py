"""Checks of form: how many bullets, words or sentences, which case, which words occur.

Each takes the check's options and the cleaned text, and says what it found. Options are plain
texts and numbers, never patterns, so that an item cannot make a check slow.
"""

from __future__ import annotations

from collections.abc import Callable, Sized

from prism_core.checks import text as read
from prism_core.checks.check import Grade, Options, pass_or_fail


def _compare_count(options: Options, found: int, what: str) -> Grade:
    """Compare a count with `n`, or with `min` and `max`."""
    low = options.get("n", options.get("min", 0))
    high = options.get("n", options.get("max"))
    wanted = str(low) if low == high else f"{low} to {high if high is not None else 'any number'}"
    ok = found >= low and (high is None or found <= high)
    return pass_or_fail(ok, f"{found} {what}; wanted {wanted}.")


def counting(what: str, find: Callable[[str], Sized]) -> Callable[[Options, str], Grade]:
    """Make a check of how many parts a text has."""
    return lambda options, text: _compare_count(options, len(find(text)), what)


def numbered(options: Options, text: str) -> Grade:
    """Count the lines that are numbered 1, 2, 3 and so on; any other order fails."""
    found = read.numbered(text)
    if found != list(range(1, len(found) + 1)):
        return pass_or_fail(False, f"The lines are numbered {found[:8]}, not from 1 on.")
    return _compare_count(options, len(found), "numbered lines")


def lower_case(_options: Options, text: str) -> Grade:
    """Allow no capital letter."""
    capitals = sum(c.isupper() for c in text)
    return pass_or_fail(capitals == 0, f"{capitals} capital letters; wanted none.")


def upper_case(_options: Options, text: str) -> Grade:
    """Require capital letters, and no small one."""
    small = sum(c.islower() for c in text)
    has_letters = any(c.isupper() for c in text)
    return pass_or_fail(small == 0 and has_letters, f"{small} small letters; wanted none.")


def starts_with(options: Options, text: str) -> Grade:
    """Require `text` at the beginning, in any case unless `exact`."""
    wanted, body = str(options["text"]), text.lstrip(" \n\t\"'*#")
    if not options.get("exact", False):
        wanted, body = wanted.casefold(), body.casefold()
    return pass_or_fail(body.startswith(wanted), f"Wanted it to begin with '{options['text']}'.")


def ends_with(options: Options, text: str) -> Grade:
    """Require `text` at the end, blanks, quotes and (unless asked for) closing marks aside."""
    wanted = str(options["text"]).casefold()
    marks = " \n\t\"'*" if wanted[-1:] in ".!?" else " \n\t\"'*.!?"
    ok = text.rstrip(marks).casefold().endswith(wanted)
    return pass_or_fail(ok, f"Wanted it to end with '{options['text']}'.")


def contains_all(options: Options, text: str) -> Grade:
    """Require each of `parts` as whole words; an inner list holds alternatives."""
    groups = [[p] if isinstance(p, str) else list(p) for p in options["parts"]]
    missing = [g[0] for g in groups if not any(read.mentions(text, p) for p in g)]
    share = 1 - len(missing) / len(groups)
    why = f"Missing: {', '.join(missing)}." if missing else "All that was asked for occurs."
    return Grade(share, not missing, why)


def contains_none(options: Options, text: str) -> Grade:
    """Allow none of `parts` as whole words."""
    found = [p for p in options["parts"] if read.mentions(text, p)]
    return pass_or_fail(
        not found, f"Unwanted: {', '.join(found)}." if found else "Nothing unwanted."
    )


def no_character(options: Options, text: str) -> Grade:
    """Allow none of the characters of `characters`, in either case."""
    present = sorted(set(str(options["characters"]).casefold()) & set(text.casefold()))
    return pass_or_fail(
        not present, f"Unwanted: {' '.join(present)}." if present else "None occurs."
    )


def character_count(options: Options, text: str) -> Grade:
    """Count how often `character` occurs."""
    return _compare_count(
        options, text.count(str(options["character"])), repr(options["character"])
    )


def acrostic(options: Options, text: str) -> Grade:
    """Require lines whose first letters spell `word`."""
    firsts = "".join(
        next((c for c in line if c.isalpha()), "") for line in read.lines(text)[:200]
    ).casefold()
    wanted = str(options["word"]).casefold()
    return pass_or_fail(
        firsts == wanted, f"The lines begin with '{firsts[:30]}'; wanted '{wanted}'."
    )
