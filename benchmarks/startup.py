"""How long until the app is served and answers: the very first start against the second.

The first start has an empty cache: it fetches the embedded model, checks and converts it. Prints
seconds until the page is served and until a visitor's first token, and the ratio first / second.
`--second` leaves the first start out and uses the cache that is there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from gradio_client import Client

from benchmarks.support.served_app import served_app


def main() -> None:
    """Start the app twice on one cache and print both, or once on the cache that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--second", action="store_true", help="only a start with a filled cache")
    with tempfile.TemporaryDirectory() as folder:
        home, cache = Path(folder) / "data", Path(folder) / "cache"
        if parser.parse_args().second:
            page, token = start(home)
            print(f"served page: {page:.1f} s, first token: {token:.1f} s")
            return
        first, second = (start(home, PRISM_CACHE_DIR=str(cache)) for _ in range(2))
    for what, a, b in zip(("served page", "first token"), first, second, strict=True):
        print(f"{what}: first start {a:.1f} s, second {b:.1f} s, ratio {a / b:.1f}")


def start(home: Path, **environment: str) -> tuple[float, float]:
    """Return the seconds until a page is served, and until a first visitor's token."""
    with served_app(home, **environment) as app:
        client = Client(app.url, verbose=False)
        client.predict(
            "Say hello.", persona="math", arms=["neutral"], max_new_tokens=1, api_name="/compare"
        )
        return app.page_seconds, time.perf_counter() - app.began


if __name__ == "__main__":
    main()
