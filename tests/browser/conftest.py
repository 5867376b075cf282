"""A served app with the real embedded model, and a real Chromium to look at it.

`python app.py` runs as a subprocess on a free port, once for all browser tests. `PRISM_CACHE_DIR`
comes from the environment; without Chromium (`PRISM_CHROMIUM` names another path) the tests are
skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.browser import ARGUMENTS, chromium_path, start_app, stop_app

sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="session")
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the running app keeps runs and adapters."""
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="session")
def app_url(data_home: Path) -> Iterator[str]:
    """Address of the running app."""
    url, process = start_app(data_home / "app.log", PRISM_DATA_HOME=str(data_home))
    yield url
    stop_app(process)


@pytest.fixture(scope="session")
def chromium() -> Iterator[sync_api.Browser]:
    path = chromium_path()
    if path is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: sync_api.Browser, app_url: str) -> Iterator[Callable[..., sync_api.Page]]:
    """Open the app as a new visitor: own storage; fails on script errors and foreign requests."""
    sync_api.expect.set_options(timeout=20_000)  # a busy machine
    contexts = []
    problems: list[str] = []

    def check(request: sync_api.Request) -> None:
        if not request.url.startswith((app_url, "data:", "blob:")):
            problems.append(f"request to {request.url}")

    def open_page(query: str = "", **options: object) -> sync_api.Page:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = chromium.new_context(accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        page.on("request", check)
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        page.goto(f"{app_url}/{query}")
        # Attached, not visible: a link may have opened another tab by now.
        page.wait_for_selector("#px-run", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
