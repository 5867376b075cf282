"""The smallest pieces: escaped text, a notice, a status line.

`escape` is the only way by which foreign text enters a page. Besides the five HTML characters it
masks `{`, `}`, `$` and the backtick, since Gradio's HTML component runs templates over what it is
given.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from typing import Literal

Tone = Literal["info", "busy", "done", "warn", "error"]
_TEMPLATE = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


def escape(text: object) -> str:
    """Foreign text as HTML that shows it letter by letter; control characters are dropped."""
    kept = "".join(
        c for c in str(text) if c in "\n\t\u200c\u200d" or unicodedata.category(c) not in _HIDDEN
    )
    return html.escape(kept, quote=True).translate(_TEMPLATE)


_HIDDEN = ("Cc", "Cf", "Cs")
"""Control, format (direction overrides among them) and surrogate characters."""


def notice(tone: Tone, message: str, more: Sequence[str] = ()) -> str:
    """One sentence in a coloured strip; errors are announced to screen readers at once."""
    if not message:
        return ""
    role = "alert" if tone == "error" else "status"
    items = "".join(f"<li>{escape(line)}</li>" for line in more)
    below = f"<ul>{items}</ul>" if items else ""
    return (
        f'<div class="px-notice px-{tone}" role="{role}"><span class="px-dot" aria-hidden="true">'
        f"</span><div><p>{escape(message)}</p>{below}</div></div>"
    )


def loading(message: str, done: float, total: float) -> str:
    """A strip with a bar for work whose length is known."""
    share = max(0.0, min(1.0, done / total)) if total > 0 else 0.0
    return (
        '<div class="px-notice px-busy" role="status"><span class="px-dot" aria-hidden="true">'
        f"</span><div><p>{escape(message)}</p>"
        f'<div class="px-bar" aria-hidden="true"><i style="width:{share * 100:.0f}%"></i></div>'
        "</div></div>"
    )


def count(number: int, noun: str) -> str:
    """`1 token`, `2 tokens`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
