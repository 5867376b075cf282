"""The Python API: what README shows works as it stands, and every package gives what it lists."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import pytest
from support.paths import ROOT

PACKAGES = ("models", "personas", "compare", "scorers", "prism", "study", "rl", "tasks", "stats")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_gives_what_it_lists(name: str) -> None:
    package = import_module(f"prism_core.{name}")
    for listed in package.__all__:
        assert getattr(package, listed) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        package.nothing_like_it  # noqa: B018


def test_the_example_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)  # our own text
    printed = capsys.readouterr().out
    assert "Neutral" in printed and "stem/long/system" in printed


def test_the_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "examples" / "first_steps.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert cells.pop(0).startswith("%pip install")
    names: dict[str, object] = {}
    for code in cells:
        exec(compile(code, "first_steps.ipynb", "exec"), names)  # our own text
    printed = capsys.readouterr().out
    assert "== Neutral" in printed and "nats" in printed and "gate " in printed


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_paths_in_the_pages_exist(page: str) -> None:
    """Every `folder/file.py` in backticks, and every link to a file of ours."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:app|prism_core|tests|assets|benchmarks|examples)/[\w./]+)`", text)
    named += re.findall(r"\]\((?!https?://)([\w./]+)\)", text)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
