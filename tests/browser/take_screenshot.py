"""Take the README's picture of the app from the app: `make screenshot`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import expect, sync_playwright
from support.browser import ANSWER_MS, ARGUMENTS, ROOT, chromium_path, start_app, stop_app

INPUTS = {
    "question": "What did you have for breakfast this morning?",
    "persona": "math",
    "arms": "neutral,persona,prism",
    "adapter": "shipped-demo",
    "max_new_tokens": 56,
    "seed": 3,
}


def main() -> None:
    """Serve the app, ask one question, and write `assets/screenshot.png`."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        url, process = start_app(Path(folder) / "app.log", PRISM_DATA_HOME=folder)
        try:
            browser = play.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.goto(f"{url}/?{urlencode(INPUTS)}")
            expect(page.locator("#px-status")).to_contain_text("The link filled in the inputs")
            page.click("#px-run")
            expect(page.locator("#px-status .px-done")).to_be_visible(timeout=ANSWER_MS)
            page.evaluate("window.scrollTo(0, 0)")
            page.wait_for_timeout(500)
            page.screenshot(path=str(ROOT / "assets" / "screenshot.png"), full_page=True)
        finally:
            stop_app(process)


if __name__ == "__main__":
    main()
