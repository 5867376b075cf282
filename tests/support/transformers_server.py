"""`transformers serve` on loopback with the embedded model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prism_core.models.embedded import embedded_folder
from support.paths import free_port


@contextmanager
def transformers_server(home: Path) -> Iterator[tuple[str, str]]:
    """Serve the embedded model; yields (url, model name)."""
    port, log, folder = free_port(), home / "log", home / "model"
    folder.mkdir()
    for path in embedded_folder().iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "generation_config.json").unlink()  # this server samples only if the model's own
    settings = {"do_sample": True, "eos_token_id": 2, "pad_token_id": 2}  # settings say so
    (folder / "generation_config.json").write_text(json.dumps(settings))
    code = "from transformers.cli.transformers import main; main()"
    command = [sys.executable, "-c", code, "serve", str(folder), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(timeout=20)
