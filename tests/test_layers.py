"""Imports go only downwards: the architecture as a test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "types", "stats"}),
    frozenset({"generator", "progress", "records", "thoughts", "sources"}),
    frozenset({"storage", "journal", "personas", "prompts", "graders", "tasks", "demo"}),
    frozenset({"cache_folder", "hub", "sampling", "kv_cache", "chat", "losses"}),
    frozenset({"embedded", "decoding"}),
    frozenset({"weights", "scoring", "adapters", "remote"}),
    frozenset({"models", "gate"}),
    frozenset({"gated_model", "judges", "metrics"}),
)
"""From the ground up; a module may import from its own layer and from those below it."""


def modules() -> list[Path]:
    return sorted(p for p in (ROOT / "prism_core").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full dotted names of what a file imports anywhere, functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_core_never_imports_the_app_or_gradio(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(path)}
    assert not tops & {"gradio", "app"}, f"{path.name} imports {tops & {'gradio', 'app'}}"
