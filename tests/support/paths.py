"""Where things lie, for tests that start programs or read files."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
TESTS = ROOT / "tests"
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real benchmark files beside the checkout; tests skip what they miss."""
PYTHONPATH = f"{ROOT}{os.pathsep}{TESTS}"
"""For child processes that import from both."""
