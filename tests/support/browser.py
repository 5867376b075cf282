"""Starting the app and Chromium for browser tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Page

from prism_core.storage import Store
from support.paths import ROOT, free_port

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BROWSERS = ("chromium-headless-shell", "chromium")
"""Debian's names; the first is Chromium without the window's own pages, and opens ours sooner."""
START_SECONDS = 180
ANSWER_MS = 120_000
"""How long an answer may take on a slow, busy machine."""


def chromium_path() -> str | None:
    """Find the browser to drive: what `PRISM_CHROMIUM` names, or the first that is installed."""
    found = [os.environ.get("PRISM_CHROMIUM"), *map(shutil.which, BROWSERS)]
    return next((path for path in found if path), None)


def wait_until_served(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"app.py ended with status {process.returncode}:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"app.py did not serve within {START_SECONDS} s:\n{log.read_text()}")


def start_app(
    log: Path, *arguments: str, **environment: str
) -> tuple[str, subprocess.Popen[bytes]]:
    """Serve the app on a free port; return its address and the process."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), *arguments],
            cwd=ROOT,
            # Threads that wait busily would take the processors from the browser beside them.
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_served(url, process, log)
    except BaseException:
        process.kill()
        raise
    return url, process


def stop_app(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()


def open_tab(page: Page, name: str) -> None:
    """Open a tab of the page; all are visible at any width."""
    page.get_by_role("tab", name=name, exact=True).click()


def set_number(page: Page, where: str, value: float) -> None:
    """Type a number into a field or a slider's box, and leave it."""
    box = page.locator(f"{where} input[type=number]")
    box.fill(str(value))
    box.press("Tab")


def cancel_at_once(page: Page, button: str, data_home: Path, run_id: str) -> None:
    """Press Cancel, and check that the run is cancelled in two seconds and a click's travel."""
    began = time.monotonic()
    page.click(button)
    with Store(home=data_home) as store:
        while store.get_run(run_id).status != "cancelled":
            assert time.monotonic() - began < 3
            time.sleep(0.05)


def nothing_sticks_out(page: Page, widths: Sequence[int] = (390, 1280)) -> None:
    """Check that nothing has to be scrolled sideways in a window of any of these widths."""
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)  # what follows the window's size has followed
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def unfold(page: Page, name: str) -> None:
    """Open the last fold of a name, and wait as long as a person takes to look at it.

    Gradio draws a fold's fields when it opens, and a moment later gives them the values that were
    set meanwhile; what a script types in between is lost.
    """
    page.get_by_role("button", name=name).last.click()
    page.wait_for_timeout(700)
