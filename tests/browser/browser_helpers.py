"""Starting the app and Chromium for browser tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 180
ANSWER_MS = 120_000
"""How long an answer may take on a slow, busy machine."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    """Serve the app on a free port; gives its address and the process."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), *arguments],
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
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
    """Open a tab of the page; on a phone it may be behind the dots."""
    tab = page.get_by_role("tab", name=name, exact=True)
    dots = page.locator(".overflow-menu > button").first
    expect(tab.or_(dots).locator("visible=true").first).to_be_visible()
    if tab.is_visible():
        tab.click()
    else:
        dots.click()
        page.locator(".overflow-dropdown button", has_text=name).click()
