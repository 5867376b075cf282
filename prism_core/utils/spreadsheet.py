"""Text that is safe to open in a spreadsheet."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe_text(text: str) -> str:
    """Put an apostrophe in front of what a spreadsheet would take for a formula."""
    return "'" + text if text.startswith(_FORMULA) else text
