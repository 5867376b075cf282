"""What a thousand visits leave in the memory of the served app."""

from __future__ import annotations

import json
import secrets
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.browser import start_app, stop_app

VISITS, WARM = 1_000, 100
MOST_MB = 200.0
FLAT_MB = 40.0
"""The most that the second half of the visits may add."""


def post(url: str, session: str, dependency: dict[str, Any], components: dict[int, Any]) -> None:
    body = {
        "data": [components[i]["props"].get("value") for i in dependency["inputs"]],
        "fn_index": dependency["id"],
        "session_hash": session,
        "event_data": {"index": 0, "value": "", "selected": True},
    }
    request = urllib.request.Request(
        f"{url}/gradio_api/run/predict",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


@pytest.mark.slow
def test_a_thousand_visits_leave_less_than_200_mb(tmp_path: Path) -> None:
    """Each opens the page and every tab, as a browser does, and leaves again."""
    url, process = start_app(
        tmp_path / "log", PRISM_DATA_HOME=str(tmp_path / "data"), PRISM_PUBLIC="1"
    )
    try:
        with urllib.request.urlopen(f"{url}/config", timeout=60) as answer:
            config = json.load(answer)
        components = {one["id"]: one for one in config["components"]}
        tabs = {i for i, one in components.items() if one["type"] == "tabitem"}
        wanted = [
            one
            for one in config["dependencies"]
            if one["backend_fn"] and not one["queue"]
            if any(
                event == "load" or (event == "select" and target in tabs)
                for target, event in one["targets"]
            )
        ]
        assert len(wanted) >= 10

        def visit() -> None:
            session = secrets.token_hex(6)
            with urllib.request.urlopen(f"{url}/", timeout=60) as page:
                page.read()
            with urllib.request.urlopen(f"{url}/gradio_api/heartbeat/{session}", timeout=60):
                for dependency in wanted:
                    post(url, session, dependency, components)

        app = psutil.Process(process.pid)
        held = []
        for number in range(WARM + VISITS + 1):
            if number in (WARM, WARM + VISITS // 2, WARM + VISITS):
                held.append(app.memory_info().rss / 1e6)
            visit()
        print(f"MB held after {WARM}, {WARM + VISITS // 2}, {WARM + VISITS} visits: {held}")
        assert held[2] - held[0] < MOST_MB
        assert held[2] - held[1] < FLAT_MB
    finally:
        stop_app(process)
