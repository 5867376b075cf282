"""Serve the app in a process of its own, as a person would start it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class ServedApp:
    """An app that answers."""

    url: str
    began: float
    """When its process was started, on the clock `time.perf_counter`."""
    page_seconds: float
    """From there to the first page."""


@contextmanager
def served_app(data_home: Path, **environment: str) -> Iterator[ServedApp]:
    """Start `python app.py` on a free port, and end it with the block.

    Raises:
        TimeoutError: the app was not served.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    app = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=ROOT,
        env=os.environ | {"PRISM_DATA_HOME": str(data_home)} | environment,
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        yield ServedApp(url, began, _wait_for(url, began, app))
    finally:
        app.terminate()
        app.wait(30)


def _wait_for(url: str, began: float, app: subprocess.Popen[bytes]) -> float:
    """Wait until the page answers; return the seconds since `began`."""
    while time.perf_counter() - began < PATIENCE_SECONDS and app.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return time.perf_counter() - began
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(f"the app was not served within {PATIENCE_SECONDS:.0f} s")
