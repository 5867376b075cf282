"""Make a clean question of what a model wrote, or say why there is none.

Small models ramble: they close the quotation and go on, answer themselves, or talk about the task.
A draft is cut where its quotation or its first line ends, stripped of labels, and kept only if it
reads as a question or a request. Near-duplicates share most of their content words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Reason = Literal["near_duplicate", "refusal", "empty", "malformed", "too_long"]
"""Why a draft was dropped."""
REASONS: tuple[Reason, ...] = get_args(Reason)

FEWEST_WORDS = 4


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPEN, _CLOSE = '"“', '"”'
_LABEL = re.compile(
    r"^(?:[#>*\-\s]|\d{1,2}[.):]\s|(?:my |the |here is (?:a|my|the|one) )?"
    r"(?:question|query|request|q|user|prompt)\b[^:\n\"]{0,60}:)+",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i(?:'|’)?m|i am) (?:sorry|afraid|unable|not (?:able|allowed))\b"  # noqa: RUF001
    r"|\bi (?:can(?:no|')t|cannot|won't|will not) (?:help|assist|answer|provide|write|ask|fulfil)"
    r"|\bas an ai\b",
    re.IGNORECASE,
)
_ABOUT_THE_TASK = re.compile(
    r"\b(?:a|an|my|your|this|that|the|one|any|specific|following|above)(?: \w+){0,2} "
    r"(?:question|request|query)\b|\bsmollm\b|\bchatbot\b|\bai (?:assistant|model|language)"
    r"|\bi(?:'m| am) (?:here|an ai|ready|happy|glad|designed)\b|\b(?:help|assist) you\b"
    r"|\byou(?:'d| would)? (?:like|want|need) (?:me )?(?:help|to know|to ask)|\bhow can i help\b"
    r"|\bquestion:|\banswer:",
    re.IGNORECASE,
)
_STATEMENT_STARTS = _words(
    "i im i'm the a an this that these those here it its it's in on at you your sure certainly yes "
    "no my there to as for we they he she one and but so because if ah oh well okay"
)
_ASKING_STARTS = _words(
    "what how why when where who whom whose which is are was were do does did can could should "
    "would will has have"
)
_STOP_WORDS = _words(
    "a an the of to in on at by for with from and or is are was were be been do does did can could "
    "should would will i you me my your it its this that these those how what why which when where "
    "who explain some any there as about between into if have has please give write tell"
)


@dataclass(frozen=True)
class Draft:
    """What parsing made of one generation; the text may be empty where there is a reason."""

    text: str
    reason: Reason | None


def parse_draft(written: str, opener: str = "", *, is_cut: bool = False, words: int = 60) -> Draft:
    """Find the question in what a model wrote.

    Args:
        written: the generated text, which continues `opener`.
        opener: the beginning that was put into the model's mouth.
        is_cut: whether the token limit ended the text.
        words: the most that a question may have.
    """
    if not written.strip():
        return Draft("", "empty")
    text, is_closed = _first_utterance(_join(opener, written.strip()))
    if not any(c.isalpha() for c in text):
        return Draft("", "empty")
    if _REFUSAL.search(text):
        return Draft(text, "refusal")
    sentence = _sentences(text)
    if is_cut and not is_closed and sentence is None:
        return Draft(text, "too_long")
    text = sentence or text
    if len(text.split()) > words:
        return Draft(text, "too_long")
    text = _punctuated(text)
    return Draft(text, None if reads_as_question(text) else "malformed")


def reads_as_question(text: str) -> bool:
    """Whether a text asks or requests something, and is not about the task of asking."""
    words = text.split()
    if len(words) < FEWEST_WORDS or _ABOUT_THE_TASK.search(text):
        return False
    if text.count("(") != text.count(")") or re.search(r"[{}\[\]<>_|]{2,}|\\n|`{3}", text):
        return False
    first = words[0].lower().strip(",.'’")  # noqa: RUF001
    return text.endswith("?") or first not in _STATEMENT_STARTS


def content_words(text: str) -> frozenset[str]:
    """Return the words that carry the subject: lower case, no function words, no plural s."""
    found = [w for w in re.findall(r"\w+", text.lower()) if w not in _STOP_WORDS]
    return frozenset(w[:-1] if re.fullmatch(r"\w{2,}[^s]s", w) else w for w in found)


def is_near_duplicate(text: str, others: Iterable[frozenset[str]], limit: float) -> bool:
    """Whether the content words overlap with another question's by `limit` or more (Jaccard).

    Questions of function words alone have no content to tell them apart and count as duplicates.
    """
    words = content_words(text)
    return not words or any(len(words & o) >= limit * len(words | o) for o in others)


def _join(opener: str, written: str) -> str:
    """Join the opener and its continuation; what begins anew (a remote model's) stands alone."""
    if not opener or written.lower().startswith(opener.lower()):
        return written
    return opener + ("" if written[0] in ",.;:?!'’)" else " ") + written  # noqa: RUF001


def _first_utterance(text: str) -> tuple[str, bool]:
    """Cut at the closing quotation mark or the first line's end, and say whether there is one.

    A mark after a blank opens a quotation inside the question, and the next one closes it.
    """
    text = _LABEL.sub("", text).strip()
    if text[:1] in _OPEN:
        text = text[1:].lstrip()
    inside = False
    for i, c in enumerate(text):
        if c == "\n":
            return text[:i].strip(), True
        if c not in _CLOSE + _OPEN:
            continue
        if inside:
            inside = False
        elif i and text[i - 1] in " (" and c in _OPEN:
            inside = True
        else:
            return text[:i].strip(), True
    return text.strip(), False


def _sentences(text: str) -> str | None:
    """Cut after the last question mark, else after the last sentence; None where none ends."""
    if "?" in text:
        return text[: text.rindex("?") + 1]
    ends = [m.end() for m in re.finditer(r"[.!](?=\s|$)", text)]
    return text[: ends[-1]] if ends else None


def _punctuated(text: str) -> str:
    """Capitalise, and end with one mark: `?` after a question word, else a full stop."""
    text = " ".join(text.split())
    text = text[:1].upper() + text[1:]
    if text.endswith("?"):
        return text
    is_asking = text.split()[0].lower() in _ASKING_STARTS
    return text.rstrip(" .!,;:") + ("?" if is_asking else ".")
