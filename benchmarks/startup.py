"""How long until the app is served and answers: the very first start against the second.

The first start has an empty cache: it fetches the embedded model, checks and converts it. Prints
seconds until the page is served and until a visitor's first token, and the ratio first / second.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from gradio_client import Client

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Start the app twice on one cache and print both."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = start(Path(folder)), start(Path(folder))
    for what, a, b in zip(("served page", "first token"), first, second, strict=True):
        print(f"{what}: first start {a:.1f} s, second {b:.1f} s, ratio {a / b:.1f}")


def start(folder: Path) -> tuple[float, float]:
    """Return the seconds until a page is served, and until a first visitor's token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    env = os.environ | {
        "PRISM_CACHE_DIR": str(folder / "cache"),
        "PRISM_DATA_HOME": str(folder / "data"),
    }
    begin = time.perf_counter()
    command = [sys.executable, "app.py", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL) as app:
        try:
            served = wait_for(url, begin)
            client = Client(url, verbose=False)
            client.predict(
                "Say hello.",
                persona="math",
                arms=["neutral"],
                max_new_tokens=1,
                api_name="/compare",
            )
            return served, time.perf_counter() - begin
        finally:
            app.terminate()
            app.wait(30)


def wait_for(url: str, begin: float) -> float:
    """Wait until the page answers; return the seconds since `begin`."""
    while time.perf_counter() - begin < 300:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return time.perf_counter() - begin
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError("the app was not served within 300 s")


if __name__ == "__main__":
    main()
