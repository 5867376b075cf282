"""Small pieces of HTML: escaped text, notices, folds, tables of numbers, two texts compared.

Foreign text enters a page by `escape` alone. Besides the five HTML characters it masks `{`, `}`,
`$` and the backtick, since Gradio's HTML component runs templates over what it is given.
"""

from __future__ import annotations

import difflib
import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from prism_core.types import Estimate

Tone = Literal["info", "busy", "done", "warn", "error"]
_TEMPLATE = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})
_HIDDEN = ("Cc", "Cf", "Cs")
"""Control, format (direction overrides among them) and surrogate characters."""
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


def escape(text: object) -> str:
    """Return HTML that shows foreign text letter by letter; control characters are dropped."""
    kept = "".join(
        c for c in str(text) if c in "\n\t\u200c\u200d" or unicodedata.category(c) not in _HIDDEN
    )
    return html.escape(kept, quote=True).translate(_TEMPLATE)


def notice(tone: Tone, message: str, more: Sequence[str] = ()) -> str:
    """Put a sentence into a coloured strip; screen readers announce errors at once."""
    if not message:
        return ""
    role = "alert" if tone == "error" else "status"
    return (
        f'<div class="px-notice px-{tone}" role="{role}"><span class="px-dot" aria-hidden="true">'
        f"</span><div><p>{escape(message)}</p>{bullets(more, '')}</div></div>"
    )


def bullets(lines: Iterable[str], style: str = ' class="px-notes"') -> str:
    """List sentences; return nothing for none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul{style}>{items}</ul>" if items else ""


def loading(message: str, done: float, total: float) -> str:
    """Put a sentence and a bar into a strip, for work whose length is known."""
    share = max(0.0, min(1.0, done / total)) if total > 0 else 0.0
    return (
        '<div class="px-notice px-busy" role="status"><span class="px-dot" aria-hidden="true">'
        f"</span><div><p>{escape(message)}</p>"
        f'<div class="px-bar" aria-hidden="true"><i style="width:{share * 100:.0f}%"></i></div>'
        "</div></div>"
    )


def count(number: int, noun: str) -> str:
    """Return `1 token`, `2 tokens`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def fold(summary: str, body: str, style: str = "px-told") -> str:
    """Hide HTML behind a summary until it is clicked; return nothing around nothing."""
    shown = f'<details class="{style}"><summary>{summary}</summary>{body}</details>'
    return shown if body else ""


def word_diff(left: str, right: str) -> tuple[str, str]:
    """Return two texts as HTML, with the words marked that only one of them has.

    The time grows with the square of their length.
    """
    a, b = _WORDS.findall(left), _WORDS.findall(right)
    codes = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return (
        "".join(_piece(a[i1:i2], tag != "equal", "del") for tag, i1, i2, _, _ in codes),
        "".join(_piece(b[j1:j2], tag != "equal", "ins") for tag, _, _, j1, j2 in codes),
    )


def _piece(words: list[str], changed: bool, mark: Literal["del", "ins"]) -> str:
    text = escape("".join(words))
    return f"<{mark}>{text}</{mark}>" if changed and text.strip() else text


def short(estimate: Estimate) -> str:
    """Return `0.91 [0.82, 0.97]`, or `not defined`."""
    if estimate.value is None:
        return "not defined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def table(caption: str, rows: Sequence[tuple[str, str, str]]) -> str:
    """Tabulate three columns: what, the number with its interval, how to read it."""
    body = "".join(
        f'<tr><th scope="row">{escape(a)}</th><td>{escape(b)}</td><td>{escape(c)}</td></tr>'
        for a, b, c in rows
    )
    return (
        f'<div class="px-scroll"><table class="px-table px-facts"><caption>{escape(caption)}'
        f"</caption><tbody>{body}</tbody></table></div>"
    )


def tiles(facts: Iterable[tuple[str, str, str]]) -> str:
    """Return boxes of three lines: what, the number, a word about it."""
    boxes = "".join(
        f"<div><dt>{escape(a)}</dt><dd>{escape(b)}<small>{escape(c)}</small></dd></div>"
        for a, b, c in facts
    )
    return f'<dl class="px-tiles">{boxes}</dl>'


def percent(estimate: Estimate) -> str:
    """Return `62 % [48, 75], n = 40`."""
    if estimate.value is None:
        return f"not defined, n = {estimate.n}"
    value = f"{estimate.value * 100:.0f} %"
    if estimate.low is None or estimate.high is None:
        return f"{value}, n = {estimate.n}"
    return f"{value} [{estimate.low * 100:.0f}, {estimate.high * 100:.0f}], n = {estimate.n}"
