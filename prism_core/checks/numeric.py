r"""Is the number right? The last answer counts, not any number that happens to stand there.

1. What is marked as the answer ("the answer is", `####`, `\boxed{}`) counts; the last mark wins.
2. After a correction ("wait", "actually") only what follows it counts.
3. Without a mark the last number of the text is the answer.
4. Two numbers offered as alternatives ("12 or 13") are no answer.
"""

from __future__ import annotations

import re
from fractions import Fraction

from prism_core.checks.check import Grade, Options, pass_or_fail
from prism_core.errors import InputError

_NUMBER = re.compile(
    r"(?<![\w.])[-+]?[$\u00a3\u20ac]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[ ]?/[ ]?\d+)?(?!\d)"
)
_MARK = re.compile(
    r"####|\\boxed\s*\{|\b(?:final answer|answer|result|solution|total)\b\W{0,4}"
    r"(?:(?:is|equals|would be|=)\b|:|=)|\banswer\b\s*[:=]",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|sorry|i made a mistake|should be)\b", re.IGNORECASE
)
_ALTERNATIVE = re.compile(r"\s*(?:or|or maybe|or perhaps)\s*", re.IGNORECASE)
_MAX_DIGITS = 60
_SPELLED = """zero one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen twenty"""
_WORDS = {word: Fraction(i) for i, word in enumerate(_SPELLED.split())}


def parse_number(text: str) -> Fraction | None:
    """Return the value of a number as people write it (`1,200`, `-3/4`, `$2.50`), or None."""
    plain = re.sub(r"[,$\u00a3\u20ac\s]", "", text).rstrip("%.")
    if not plain or len(plain) > _MAX_DIGITS:
        return None
    try:
        return Fraction(plain)
    except (ValueError, ZeroDivisionError):
        return None


def final_number(text: str) -> Fraction | None:
    """Return the one number that a cleaned text gives as its answer, or None."""
    before: re.Match[str] | None = None
    last: re.Match[str] | None = None
    for found in _NUMBER.finditer(text):
        before, last = last, found
    if last is None:
        spelled = [_WORDS[w] for w in re.findall(r"[a-z]+", text.lower()) if w in _WORDS]
        return spelled[-1] if spelled else None
    corrected = max((m.end() for m in _CORRECTION.finditer(text, 0, last.start())), default=0)
    mark = max((m.end() for m in _MARK.finditer(text, corrected, last.start() + 1)), default=None)
    if mark is not None:
        return _marked(text, mark)
    if before is not None and _alternatives(text, before, last):
        return None
    return parse_number(last[0])


def _marked(text: str, start: int) -> Fraction | None:
    """Return the first number after a mark, or after an equals sign in the same sentence."""
    line = text[start : start + 400].lstrip().split("\n")[0]
    sentence = re.split(r"[.;](?:\s|$)", line)[0]
    _, sign, result = sentence.rpartition("=")
    if sign and _NUMBER.search(result):
        sentence = result
    found = list(_NUMBER.finditer(sentence))
    if not found:
        later = _NUMBER.search(text, start)
        return parse_number(later[0]) if later else None
    if len(found) > 1 and _alternatives(sentence, found[0], found[1]):
        return None
    return parse_number(found[0][0])


def _alternatives(text: str, first: re.Match[str], second: re.Match[str]) -> bool:
    return _ALTERNATIVE.fullmatch(text[first.end() : second.start()][:20]) is not None


def grade_number(options: Options, text: str) -> Grade:
    """Compare the final number with `answer`, within `tolerance` (absolute, 0 unless given)."""
    expected = parse_number(str(options["answer"]))
    if expected is None:
        raise InputError(f"The check's answer {options['answer']!r} is not a number.")
    tolerance = parse_number(str(options.get("tolerance", 0))) or Fraction(0)
    found = final_number(text)
    if found is None:
        return pass_or_fail(False, "No single number is given as the answer.")
    if abs(found - expected) <= tolerance:
        return pass_or_fail(True, f"The answer is {_shown(found)}, as expected.")
    return pass_or_fail(False, f"The answer is {_shown(found)}; {_shown(expected)} was expected.")


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    decimal = f"{float(value):.10g}"
    return decimal if Fraction(decimal) == value else f"{value.numerator}/{value.denominator}"
