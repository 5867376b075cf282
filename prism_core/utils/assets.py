"""Where shipped data files lie: personas, tasks, adapters, studies, styles. Known here alone."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def _find() -> Path:
    """A checkout keeps them beside the packages, a wheel inside this one."""
    inside = _PACKAGE / "_assets"
    return inside if inside.is_dir() else _PACKAGE.parent / "assets"


ASSETS = _find()
"""The folder of shipped data files; read only."""
