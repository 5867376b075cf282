"""Buying a study's answers: its time against the ideal, and what is lost at a kill.

1. A study of 500 answers at an endpoint that takes 300 ms for each, 32 at once; the server is a
   process of its own on loopback. Ideal are 500 / 32 x 300 ms (aim: at most 1.3 times that).
2. The same, killed (SIGKILL) when half is answered, and resumed: requests that the server answered
   twice (aim: at most the 32 that were under way).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from prism_core.models.remote.probing import HELLO, KNOWN
from prism_core.progress import Progress, ProgressReport
from prism_core.study.run import run_study
from prism_core.study.spec import from_yaml

SPEC = """
name: Bought
tasks: [{{name: safety, n_per_category: 50}}]
personas: [math, critic]
lengths: [min, short]
max_new_tokens: 8
concurrency: {at_once}
models: ['mock:m']
"""
ANSWERS = 5 * 100
USAGE = {"prompt_tokens": 40, "completion_tokens": 4, "total_tokens": 44}
PROBES = (HELLO[0].content, KNOWN[0].content)
"""What a probe asks before the study; it is counted apart."""
HEAD = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0.3, help="how long an answer takes")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, args.seconds), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "endpoints.yaml").write_text(f"mock:\n  base_url: {url}/v1\n")
        (folder / "spec.yaml").write_text(SPEC.format(at_once=args.at_once))
        os.environ["PRISM_ENDPOINTS"] = str(folder / "endpoints.yaml")
        timed(folder, "warm", n_per_category=1)
        ideal = ANSWERS / args.at_once * args.seconds
        for turn in range(args.turns):
            whole, took = timed(folder, f"turn{turn}")
            print(
                f"{took:.2f} s for {ANSWERS} answers, ideal {ideal:.2f} s: {took / ideal:.2f}; "
                f"{whole:.2f} s with the probe before them and the file behind them"
            )
        before = answered(url)
        killed(folder, url, before + ANSWERS // 2)
        print(
            f"killed at the half and resumed: {answered(url) - before - ANSWERS} requests were "
            f"answered twice, at most {args.at_once} were under way"
        )
    server.terminate()


def timed(folder: Path, name: str, **changes: int) -> tuple[float, float]:
    """Run the study in this process; return the seconds of all of it, and of the answers alone."""
    spec = replace(from_yaml((folder / "spec.yaml").read_text()), **changes)
    times: list[float] = []

    def note(report: ProgressReport) -> None:
        if report.stage == "answering":
            times.append(time.perf_counter())

    start = time.perf_counter()
    run_study(spec, folder / name, progress=Progress(note))
    return time.perf_counter() - start, times[-1] - times[0]


def killed(folder: Path, url: str, until: int) -> None:
    """Run the study in another process, kill it when the server has answered so often, resume."""
    command = [sys.executable, "-m", "prism_core", "study", "run", str(folder / "spec.yaml")]
    command += ["--out", str(folder / "killed")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while answered(url) < until:
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(1.0)  # the server ends what it was asked
    subprocess.run([*command, "--resume"], check=True, stdout=subprocess.DEVNULL)


def answered(url: str) -> int:
    """Return how many answers the server has given."""
    with urllib.request.urlopen(f"{url}/count") as reply:
        return int(reply.read())


def serve(ready: Connection, seconds: float) -> None:
    """Answer chat requests after so many seconds, and say how many there were."""
    count = 0

    async def line_of(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readline()
        except ConnectionResetError:  # the client was killed
            return b""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while head := await line_of(reader):
            length = 0
            while (line := await reader.readline()).strip():
                name, _, value = line.decode().partition(":")
                length = int(value) if name.lower() == "content-length" else length
            body = await reader.readexactly(length)
            content, kind = str(count).encode(), "text/plain"
            if head.startswith(b"POST"):
                await asyncio.sleep(seconds)
                count += not any(text.encode() in body for text in PROBES)
                content, kind = answer(), "text/event-stream"
            about = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
            writer.write(about.encode() + b"\r\n" + content)
            await writer.drain()

    async def run() -> None:
        server = await asyncio.start_server(take, "127.0.0.1", 0, backlog=256)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def answer() -> bytes:
    """Return a streamed answer of four words and what it used."""
    words = [{"index": 0, "delta": {"content": f"word{i} "}, "finish_reason": None} for i in "1234"]
    words.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    lines = [*({**HEAD, "choices": [w]} for w in words), {**HEAD, "choices": [], "usage": USAGE}]
    return "".join(f"data: {json.dumps(line)}\n\n" for line in lines).encode() + b"data: [DONE]\n\n"


if __name__ == "__main__":
    main()
