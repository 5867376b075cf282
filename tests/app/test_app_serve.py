"""The command line of `python app.py`, the model pool, the headers and the theme."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import gradio as gr
import pytest
from support.paths import ROOT

from app.server.headers import HEADERS, SecurityHeaders
from app.server.options import parse
from app.server.page import build_page
from app.server.serve import main, model_loader
from app.server.theme import css, head, theme
from app.services.jobs import Jobs
from app.services.model_pool import ModelPool, load_with_news
from app.services.settings import Settings
from app.services.study_shelf import StudyImports
from prism_core.errors import InputError, NotFoundError
from prism_core.models.local import LocalModel
from prism_core.progress import Progress
from prism_core.storage import Store


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--port", "0"], "'0' is not a port"),
        (["--port", "70000"], "'70000' is not a port"),
        (["--port", "x"], "'x' is not a port"),
        (["--auth", "nocolon"], "'nocolon' is not of the form user:password"),
        (["--auth", ":secret"], "'' is not of the form"),
        (["--colour"], "--colour"),
    ],
)
def test_bad_values_end_in_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert "secret" not in error  # a password is never repeated


def test_good_values() -> None:
    options = parse(["--host", "0.0.0.0", "--port", "80", "--share", "--auth", "me:a:b"], {})
    assert (options.host, options.port, options.auth) == ("0.0.0.0", 80, {"me": "a:b"})
    assert options.share and not options.trusted
    assert parse(["--mcp", "--trusted"], {}).mcp


def test_a_taken_port_and_an_unknown_host(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 2
    assert main(["--host", "no such host"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in lines[0]


def test_every_number_reaches_the_sentence_that_refuses_it(tmp_path: Path) -> None:
    with Store(home=tmp_path) as store:
        settings = Settings(cache=tmp_path)
        imports = StudyImports(tmp_path / "studies", settings)
        page = build_page(settings, ModelPool(model_loader(settings)), store, Jobs(store), imports)
    numbers = [b for b in page.blocks.values() if isinstance(b, gr.Number | gr.Slider)]
    assert len(numbers) > 40
    for number in numbers:
        assert number.preprocess(None) is None, number.label
        for typed in (-1e300, 1e300):  # Gradio must not end it with a bare "Error" of its own
            assert number.preprocess(typed) == typed, number.label


def test_remote_models_are_used_only_where_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISM_REMOTE_URL", "http://127.0.0.1:9/v1")
    assert "tiny" in model_loader(Settings())("remote:tiny", None).name
    public = Settings(public=True, models=("embedded", "remote:listed"))
    assert "listed" in model_loader(public)("remote:listed", None).name
    with pytest.raises(InputError, match="'remote:other' cannot be used here"):
        model_loader(public)("remote:other", None)


def test_the_page_is_built_without_what_only_models_need(tmp_path: Path) -> None:
    script = """
import pkgutil, sys
from importlib import import_module
from pathlib import Path

import app
from app.server.page import build_page
from app.server.serve import model_loader
from app.services.jobs import Jobs
from app.services.model_pool import ModelPool
from app.services.settings import Settings
from app.services.study_shelf import StudyImports
from prism_core.storage import Store

for module in pkgutil.walk_packages(app.__path__, "app."):
    import_module(module.name)
settings = Settings(cache=Path(sys.argv[1]))
with Store(home=Path(sys.argv[1])) as store:
    imports = StudyImports(store.home / "studies", settings)
    build_page(settings, ModelPool(model_loader(settings)), store, Jobs(store), imports)
heavy = ("torch", "transformers", "peft", "accelerate", "openai", "scipy.stats")
print(*[name for name in heavy if name in sys.modules])
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_two_visitors_share_one_load(tiny: LocalModel) -> None:
    calls: list[str] = []
    gate = threading.Event()

    def load(reference: str, progress: Progress | None) -> LocalModel:
        calls.append(reference)
        gate.wait(5)
        return tiny

    pool = ModelPool(load)
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(pool.get("a"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert (calls, got) == (["a"], [tiny] * 4)


def test_the_model_used_longest_ago_is_let_go(tiny: LocalModel) -> None:
    pool = ModelPool(lambda reference, progress: tiny, capacity=2)
    for reference in ("a", "b", "a", "c"):
        pool.get(reference)
    assert [pool.is_loaded(r) for r in "abc"] == [True, False, True]


def test_loading_tells_how_it_goes(tiny: LocalModel) -> None:
    def load(reference: str, progress: Progress | None) -> LocalModel:
        if reference == "missing":
            raise NotFoundError("there is no model at 'missing'")
        assert progress is not None
        progress.update("model", 1, 2, "converting")
        return tiny

    pool = ModelPool(load)
    news = load_with_news(pool, "a")
    notes = []
    while True:
        try:
            notes.append(next(news).note)
        except StopIteration as end:
            assert end.value is tiny
            break
    assert notes[0] == "loading the model"
    with pytest.raises(StopIteration) as again:
        next(load_with_news(pool, "a"))  # in memory: nothing to tell
    assert again.value.value is tiny
    with pytest.raises(NotFoundError, match="'missing'"):
        list(load_with_news(pool, "missing"))


def test_headers_stand_on_every_answer() -> None:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    inner = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello"))])
    answer = TestClient(SecurityHeaders(inner)).get("/")
    assert answer.text == "hello"
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "http" not in HEADERS["content-security-policy"].split("frame-ancestors")[0]


def test_the_look_asks_nobody_for_anything() -> None:
    for text in (css(), head(), theme()._get_theme_css()):
        assert not re.search(r"(https?:)?//[a-z]+\.", text.replace("www.w3.org", ""))
    assert theme()._stylesheets == []


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_colours_reach_wcag_aa(mode: str) -> None:
    block = css().split(":root {" if mode == "light" else ".dark {")[1].split("}")[0]
    colours = dict(re.findall(r"--px-(\w+): (#[0-9a-f]{6})", block))
    for ground in ("surface", "sunk"):
        for name in ("ink", "soft", "neutral", "persona", "control", "verify", "prism", "bad"):
            light, dark = sorted(
                (_luminance(colours[name]), _luminance(colours[ground])), reverse=True
            )
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (mode, name, ground)
