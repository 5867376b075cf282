"""Where shipped data files lie: personas, tasks, adapters, studies, styles. Known here alone."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_INSIDE = _PACKAGE / "_assets"

# A checkout keeps them beside the packages, a wheel inside this one.
ASSETS = _INSIDE if _INSIDE.is_dir() else _PACKAGE.parent / "assets"
"""The folder of shipped data files; read only."""
