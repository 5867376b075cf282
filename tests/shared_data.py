"""Where the real benchmark files lie, for the tests that read them."""

from __future__ import annotations

from pathlib import Path

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Beside the checkout; tests that need it are skipped where it is missing."""
