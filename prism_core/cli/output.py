"""What all commands share: printing, progress, opening models."""

from __future__ import annotations

import json
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from prism_core.models import sources
from prism_core.progress import Progress, ProgressReport

if TYPE_CHECKING:
    from prism_core.models.generator import Generator


def one_line(text: str) -> str:
    """Return the text on one line, free of control characters."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """Return the text without what could steer a terminal; line breaks and tabs stay."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def emit_json(value: dict[str, Any]) -> None:
    """Print one JSON object on one line."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


@contextmanager
def clean_stdout() -> Iterator[None]:
    """Send what libraries print to stderr, so that stdout holds the result alone."""
    with redirect_stdout(sys.stderr):
        yield


def open_model(reference: str) -> Generator:
    """Open a model as `prism_core.models.sources.open_model` does, with progress on a terminal."""
    listener = _show if sys.stderr.isatty() else None
    return sources.open_model(reference, Progress(listener))


def _show(report: ProgressReport) -> None:
    """Draw progress over itself on a terminal."""
    ended = "\n" if report.done >= report.total else ""
    note = one_line(report.note or report.stage)
    print(f"\r\x1b[K{note}", end=ended, file=sys.stderr, flush=True)


class ProgressLine:
    """How far long work is, on stderr: one line redrawn on a terminal, else one now and then."""

    def __init__(self, every: float = 10.0) -> None:
        self._every, self._stage, self._last = every, "", 0.0

    def __call__(self, report: ProgressReport) -> None:
        """Show one report."""
        left = "" if report.seconds_left is None else f", {report.seconds_left:.0f} s left"
        line = f"{report.stage}: {report.done:g}/{report.total:g}{left}  {report.note}"
        now = time.monotonic()
        if sys.stderr.isatty():
            print(f"\r\033[K{one_line(line)[:110]}", end="", file=sys.stderr, flush=True)
        elif report.stage != self._stage or now - self._last >= self._every:
            self._stage, self._last = report.stage, now
            print(one_line(line), file=sys.stderr, flush=True)
