"""Split what a reasoning model thinks from what it answers.

Reasoning models write their thoughts between `<think>` and `</think>` before the answer. Some chat
templates open the tag themselves, so that a text may hold the closing tag alone. The function is
pure and works on the text so far: while the thought is still open, all of it is thought.
"""

from __future__ import annotations

OPEN = "<think>"
CLOSE = "</think>"


def split_thought(text: str) -> tuple[str, str]:
    """Split a text, whole or so far, into (thought, answer).

    Several thoughts are joined by a blank line. A tag cut off at the very end of the text, as
    happens while streaming, is held back from both sides until it is whole or no tag at all.
    """
    thoughts: list[str] = []
    answer: list[str] = []
    head, close, tail = text.partition(CLOSE)
    if close and OPEN not in head:  # the chat template had opened the thought
        thoughts.append(head)
        rest = tail
    else:
        rest = text
    while rest:
        before, opened, after = rest.partition(OPEN)
        answer.append(before if opened else _without_partial(before, OPEN))
        if not opened:
            break
        inside, closed, rest = after.partition(CLOSE)
        thoughts.append(inside if closed else _without_partial(inside, CLOSE))
    thought = "\n\n".join(part.strip() for part in thoughts if part.strip())
    joined = "".join(answer)
    return thought, joined.lstrip() if thoughts else joined


def _without_partial(text: str, tag: str) -> str:
    """Drop an unfinished `tag` from the end of a text."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:size]):
            return text[:-size]
    return text
