"""Paths and a free port, for tests that start programs or read files."""

from __future__ import annotations

import os
import socket
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
TESTS = ROOT / "tests"
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real benchmark files beside the checkout; tests skip what they miss."""
PYTHONPATH = f"{ROOT}{os.pathsep}{TESTS}"
"""For child processes that import from both."""


def free_port() -> int:
    """Find a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
