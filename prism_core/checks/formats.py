"""Checks of form: how many bullets, words or sentences, which case, which words occur.

Each takes the check's options and the cleaned text, and says what it found. Options are plain
texts and numbers, never patterns, so that an item cannot make a check slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prism_core.checks import text as read
from prism_core.checks.check import Grade

Options = Mapping[str, Any]


def _found(ok: bool, why: str) -> Grade:
    return Grade(1.0 if ok else 0.0, ok, why)


def _counted(options: Options, found: int, what: str) -> Grade:
    """Compare a count with `n`, or with `min` and `max`."""
    low = options.get("n", options.get("min", 0))
    high = options.get("n", options.get("max"))
    wanted = str(low) if low == high else f"{low} to {high if high is not None else 'any number'}"
    ok = found >= low and (high is None or found <= high)
    return _found(ok, f"{found} {what}; wanted {wanted}.")


def bullets(options: Options, text: str) -> Grade:
    """Lines that begin with a bullet."""
    return _counted(options, read.bullets(text), "bullets")


def numbered(options: Options, text: str) -> Grade:
    """Lines numbered 1, 2, 3 and so on."""
    found = read.numbered(text)
    if found != list(range(1, len(found) + 1)):
        return _found(False, f"The lines are numbered {found[:8]}, not from 1 on.")
    return _counted(options, len(found), "numbered lines")


def sentence_count(options: Options, text: str) -> Grade:
    """Sentences."""
    return _counted(options, len(read.sentences(text)), "sentences")


def word_count(options: Options, text: str) -> Grade:
    """Words."""
    return _counted(options, len(read.words(text)), "words")


def line_count(options: Options, text: str) -> Grade:
    """Lines that are not blank."""
    return _counted(options, len(read.lines(text)), "lines")


def paragraph_count(options: Options, text: str) -> Grade:
    """Blocks between blank lines."""
    return _counted(options, len(read.paragraphs(text)), "paragraphs")


def lower_case(_options: Options, text: str) -> Grade:
    """No capital letter at all."""
    capitals = sum(c.isupper() for c in text)
    return _found(capitals == 0, f"{capitals} capital letters; wanted none.")


def upper_case(_options: Options, text: str) -> Grade:
    """No small letter at all."""
    small = sum(c.islower() for c in text)
    has_letters = any(c.isupper() for c in text)
    return _found(small == 0 and has_letters, f"{small} small letters; wanted none.")


def starts_with(options: Options, text: str) -> Grade:
    """Begins with `text`, whatever the case unless `exact`."""
    wanted, body = str(options["text"]), text.lstrip(" \n\t\"'*#")
    if not options.get("exact", False):
        wanted, body = wanted.casefold(), body.casefold()
    return _found(body.startswith(wanted), f"Wanted it to begin with '{options['text']}'.")


def ends_with(options: Options, text: str) -> Grade:
    """Ends with `text`, blanks, quotes and (unless asked for) closing marks aside."""
    wanted = str(options["text"]).casefold()
    marks = " \n\t\"'*" if wanted[-1:] in ".!?" else " \n\t\"'*.!?"
    ok = text.rstrip(marks).casefold().endswith(wanted)
    return _found(ok, f"Wanted it to end with '{options['text']}'.")


def contains_all(options: Options, text: str) -> Grade:
    """Every one of `parts` occurs as whole words; an inner list holds alternatives."""
    groups = [[p] if isinstance(p, str) else list(p) for p in options["parts"]]
    missing = [g[0] for g in groups if not any(read.mentions(text, p) for p in g)]
    share = 1 - len(missing) / len(groups)
    why = f"Missing: {', '.join(missing)}." if missing else "All that was asked for occurs."
    return Grade(share, not missing, why)


def contains_none(options: Options, text: str) -> Grade:
    """None of `parts` occurs as whole words."""
    found = [p for p in options["parts"] if read.mentions(text, p)]
    return _found(not found, f"Unwanted: {', '.join(found)}." if found else "Nothing unwanted.")


def no_character(options: Options, text: str) -> Grade:
    """None of the characters of `characters` occurs, in either case."""
    present = sorted(set(str(options["characters"]).casefold()) & set(text.casefold()))
    return _found(not present, f"Unwanted: {' '.join(present)}." if present else "None occurs.")


def character_count(options: Options, text: str) -> Grade:
    """How often `character` occurs."""
    return _counted(options, text.count(str(options["character"])), repr(options["character"]))


def acrostic(options: Options, text: str) -> Grade:
    """The lines' first letters spell `word`."""
    firsts = "".join(
        next((c for c in line if c.isalpha()), "") for line in read.lines(text)[:200]
    ).casefold()
    wanted = str(options["word"]).casefold()
    return _found(firsts == wanted, f"The lines begin with '{firsts[:30]}'; wanted '{wanted}'.")
