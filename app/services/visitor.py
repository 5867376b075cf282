"""Who a visitor is: an opaque, unguessable id in their browser, and nothing else.

It owns runs and adapters. What comes back from a browser may have been tampered with, so anything
that does not have the form of an id counts as no id at all.
"""

from __future__ import annotations

import re
import secrets

from prism_core.errors import InputError

VISITOR_KEY = "prism-visitor-v1"
"""Where the id lives in the browser."""
_FORM = re.compile(r"[0-9a-f]{32}")


def new_visitor() -> str:
    """Make an id of 128 random bits."""
    return secrets.token_hex(16)


def read_visitor(stored: object) -> str | None:
    """Return the id that a browser kept, or None where there is none."""
    return stored if isinstance(stored, str) and _FORM.fullmatch(stored) else None


def need_visitor(stored: object) -> str:
    """Return the id that a browser kept.

    Raises:
        InputError: there is none.
    """
    visitor = read_visitor(stored)
    if visitor is None:
        raise InputError("This page has not been recognised yet. Please reload it and try again.")
    return visitor
