"""What every check does to an answer first: strange characters in, plain ones out.

Digits of any script become ASCII digits, curly quotes and long minus signs straight ones, and
control characters go. Everything is linear in the text's length.
"""

from __future__ import annotations

import re
import unicodedata

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff]")
_DIGIT = re.compile(r"\d")
_PLAIN = str.maketrans(
    "\u2018\u2019\u02bc\u201c\u201d\u2212\u2010\u2011\uff0d\u00a0\u2009\u202f", "'''\"\"----   "
)
"""Curly quotes, long minus signs and hard blanks -> plain ones."""
_BULLET = re.compile(r"^[ \t]*[-*\u2022\u2013\u2014+][ \t]+(?=\S)", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*(\d{1,3})[.)][ \t]+(?=\S)", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?\u2026]+[\"')\]]*(?=\s|$)")
_ABBREVIATIONS = frozenset({"mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "e.g", "i.e"})


def clean(text: str) -> str:
    """Return the text with ASCII digits, straight quotes and minus signs, no control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROL.sub("", text)
    if text.isascii():
        return text
    text = text.translate(_PLAIN)
    return _DIGIT.sub(lambda m: str(unicodedata.decimal(m[0])), text)


def words(text: str) -> list[str]:
    """Split at blanks, and keep what has a letter or digit."""
    return [w for w in text.split() if any(c.isalnum() for c in w)]


def lines(text: str) -> list[str]:
    """Return the lines that are not blank."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def paragraphs(text: str) -> list[str]:
    """Return the blocks between blank lines."""
    return [p.strip() for p in re.split(r"\n[ \t]*\n", text) if p.strip()]


def sentences(text: str) -> list[str]:
    """Split at closing marks; a common abbreviation or an initial closes no sentence."""
    found, start, read, has_word = [], 0, 0, False
    for end in _SENTENCE_END.finditer(text):
        has_word = has_word or any(c.isalnum() for c in text[read : end.start()])
        read = end.end()
        before = text[max(start, end.start() - 12) : end.start()].split()
        last = before[-1].lower().lstrip("(\"'") if before else ""
        is_initial = len(last) == 1 and last.isalpha() and last != "i"
        if not has_word or (end[0] == "." and (last in _ABBREVIATIONS or is_initial)):
            continue
        found.append(text[start : end.end()].strip())
        start, has_word = end.end(), False
    if words(text[start:]):
        found.append(text[start:].strip())
    return found


def bullets(text: str) -> list[str]:
    """Return the bullets that lines begin with."""
    return _BULLET.findall(text)


def numbered(text: str) -> list[int]:
    """Return the numbers of the lines that begin with a number and a point or bracket."""
    return [int(n) for n in _NUMBERED.findall(text)]


def entries(text: str) -> list[str]:
    """Return a list's entries without bullets and numbers: its lines, or one line's parts."""
    rows = [_NUMBERED.sub("", _BULLET.sub("", line)) for line in lines(text)]
    if len(rows) == 1:
        rows = re.split(r"[,;]|\band\b", rows[0])
    return [normal(row) for row in rows if normal(row)]


def normal(text: str) -> str:
    """Reduce a short answer to what is compared: lower case, single blanks, no marks around."""
    return " ".join(text.casefold().split()).strip(" .,;:!?'\"`*_()[]")


def mentions(text: str, part: str) -> bool:
    """Whether the part stands in the text as whole words, in any case."""
    pattern = rf"(?<!\w){re.escape(part.casefold())}(?!\w)"
    return re.search(pattern, text.casefold()) is not None


def unfenced(text: str) -> str:
    """Return what the first code fence holds, or the whole text where there is none."""
    match = re.search(r"```[a-zA-Z0-9]*[ \t]*\n(.*?)```", text, re.DOTALL)
    return match[1] if match else text
