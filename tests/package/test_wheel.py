"""The wheel: built, installed into a fresh environment, and used from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from support.paths import ROOT


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside the checkout, without the tests' PYTHONPATH; return its stdout."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scripts of a fresh environment with the wheel and nothing else installed.

    Dependencies are those at hand: a path file lends this environment's packages to the fresh one.
    """
    work = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", work / "dist", cwd=work)
    venv.create(work / "fresh", with_pip=False)
    folder = work / "fresh" / "bin"
    (wheel,) = (work / "dist").glob("prism_studio-*.whl")
    run(*pip, "--python", folder / "python", "install", "--no-deps", "--no-index", wheel, cwd=work)
    packages = next((work / "fresh" / "lib").glob("python*/site-packages"))
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return folder


def test_the_command_line_works_from_another_folder(scripts: Path, tmp_path: Path) -> None:
    where = "import app, prism_core; print(prism_core.__file__, app.__file__)"
    for path in run(scripts / "python", "-c", where, cwd=tmp_path).split():
        assert Path(path).is_relative_to(scripts.parent)  # not the checkout
    listed = run(scripts / "prism", "personas", cwd=tmp_path)
    assert "math" in listed and "neutral_text" in listed
    question = ("--question", "Why is the sky blue?", "--persona", "stem")
    answered = run(
        scripts / "prism", "compare", *question, "--max-new-tokens", "4", "--json", cwd=tmp_path
    )
    assert all(arm["text"] for arm in json.loads(answered)["arms"] if arm["arm"] != "prism")


def test_the_app_finds_its_files(scripts: Path, tmp_path: Path) -> None:
    assert "--port" in run(scripts / "prism-studio", "--help", cwd=tmp_path)
    look = (
        "from app.server.theme import css, head; from prism_core.utils.assets import ASSETS; "
        "assert css() and head(); print(ASSETS)"
    )
    assets = Path(run(scripts / "python", "-c", look, cwd=tmp_path).strip())
    assert assets.is_relative_to(scripts.parent)
    wanted = {p.relative_to(ROOT / "assets") for p in (ROOT / "assets").rglob("*") if p.is_file()}
    assert wanted == {p.relative_to(assets) for p in assets.rglob("*") if p.is_file()}
