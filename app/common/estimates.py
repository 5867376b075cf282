"""Numbers as people read them on the page: an estimate with its interval, a table."""

from __future__ import annotations

from collections.abc import Sequence

from app.common.text import escape
from prism_core.types import Estimate


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


def percent(estimate: Estimate) -> str:
    """Return `62 % [48, 75], n = 40`."""
    if estimate.value is None:
        return f"not defined, n = {estimate.n}"
    value = f"{estimate.value * 100:.0f} %"
    if estimate.low is None or estimate.high is None:
        return f"{value}, n = {estimate.n}"
    return f"{value} [{estimate.low * 100:.0f}, {estimate.high * 100:.0f}], n = {estimate.n}"
