r"""Is the number right? The last answer counts, not any number that happens to stand there.

1. What is marked as the answer ("the answer is", `####`, `\boxed{}`) counts; the last mark wins.
2. After a correction ("wait", "actually") only what follows it counts.
3. Without a mark the last number of the text is the answer. What follows the result of a sum in
   the same clause ("4 + 2 = $6 for 2 tubs"), a price ("at $2 each") and a reason ("by selling 9")
   are not.
4. Two numbers offered as alternatives ("12 or 13") are no answer.
5. A length of time or a sum of money in two units ("2 hours and 40 minutes") is one number, read
   in either unit.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import partial

from prism_core.checks.check import Grade, Options, pass_or_fail
from prism_core.errors import InputError

_DIGITS = (
    r"(?<![\w.])[-+]?[$\u00a3\u20ac]?(?:(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d+)(?:\.\d+)?"
    r"(?:[ ]?/[ ]?\d+)?|\.\d+)(?![\d_])"
)
_NUMBER = re.compile(_DIGITS)
_PRICE = re.compile(rf"\b(?:at|for)\s+(?:only\s+)?{_DIGITS}\s*(?:each|apiece|a piece|per\s+\w+)")
_REASON = re.compile(r"\b(?:by \w+ing|because|since)\b[^.:=\n]*")
_UNITS = {"week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
_TWO_UNITS = re.compile(
    rf"(?<![\w.])(\d{{1,6}}) ({'|'.join(_UNITS)})s?,? (?:and )?(\d{{1,6}}) ({'|'.join(_UNITS)})s?\b"
)
_CENTS = re.compile(r"(?:\$(\d{1,9})|(?<![\w.])(\d{1,9}) dollars?) and (\d{1,2}) cents?\b")
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
    # Python reads `2516_8` as 25168.
    if not plain or len(plain) > _MAX_DIGITS or "_" in plain:
        return None
    try:
        return Fraction(plain)
    except (ValueError, ZeroDivisionError):
        return None


def final_number(text: str) -> Fraction | None:
    """Return the one number that a cleaned text gives as its answer, or None."""
    text = _without_asides(text)
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
    return parse_number(_result_of_a_sum(text, last) or last[0])


def _without_asides(text: str) -> str:
    """Leave out prices and reasons where the last line has another number."""
    for aside in (_PRICE, _REASON):
        shorter = aside.sub(" ", text)
        if _NUMBER.search(shorter.rstrip().rpartition("\n")[2]):
            text = shorter
    return text


def _result_of_a_sum(text: str, last: re.Match[str]) -> str | None:
    """Return the number behind the last `=`, if the last number only goes on about it."""
    sign = text.rfind("=", max(0, last.start() - 200), last.start())
    result = _NUMBER.search(text, sign + 1, last.start()) if sign >= 0 else None
    if result is None or text[sign + 1 : result.start()].strip():
        return None
    is_same_clause = re.search(
        r"[,;:\n]|\.\s|\b(?:so|then|which)\b", text[result.end() : last.start()]
    )
    return None if is_same_clause else result[0]


def _readings(text: str) -> list[Fraction]:
    """Return what the final number may mean: in either unit where it is given in two."""

    def joined(found: re.Match[str], into: int) -> str:
        units = _UNITS[found[2]], _UNITS[found[4]]
        total = Fraction(int(found[1]) * units[0] + int(found[3]) * units[1], units[into])
        return f"{total} {found[2 * into + 2]}s"

    text = _CENTS.sub(lambda m: f"${Fraction(m[1] or m[2]) + Fraction(int(m[3]), 100)}", text)
    texts = [_TWO_UNITS.sub(partial(joined, into=unit), text) for unit in (0, 1)]
    found = map(final_number, texts)
    return [value for value in dict.fromkeys(found) if value is not None]


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
    found = _readings(text)
    if not found:
        return pass_or_fail(False, "No single number is given as the answer.")
    shown = " or ".join(_shown(value) for value in found)
    if any(abs(value - expected) <= tolerance for value in found):
        return pass_or_fail(True, f"The answer is {shown}, as expected.")
    return pass_or_fail(False, f"The answer is {shown}; {_shown(expected)} was expected.")


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    decimal = f"{float(value):.10g}"
    return decimal if Fraction(decimal) == value else f"{value.numerator}/{value.denominator}"
