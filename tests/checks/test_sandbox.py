"""Strangers' code in the sandbox: what it may do, and what it must not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from prism_core.checks.sandbox import Limits, SandboxResult, run_function

QUICK = Limits(seconds=2)


def run(body: str, limits: Limits = QUICK) -> SandboxResult:
    """Run `def f(): body` once."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return run_function(f"def f():\n{lines}", "f", [[]], limits)


def test_code_computes_with_the_standard_library() -> None:
    code = "import math, collections\ndef f(n):\n    return [math.comb(n, 2), n * 'x', None, 0.5]"
    result = run_function(code, "f", [[4], [2]])
    assert result.outcome == "done"
    assert result.values == ([6, "xxxx", None, 0.5], [1, "xx", None, 0.5])  # 4*3/2 and 2*1/2


def test_modules_that_solutions_use_can_be_imported() -> None:
    body = "import decimal, textwrap\nfrom statistics import median\nimport heapq, datetime\n"
    body += "tenth = decimal.Decimal('0.1')\n"
    body += "return [str(tenth * 3), textwrap.shorten('a b', 9), median([3, 1, 2])]"
    assert run(body).values == (["0.3", "a b", 2],)


def test_an_endless_loop_is_ended_in_time() -> None:
    start = time.monotonic()
    assert run("while True: pass", Limits(seconds=1)).outcome in ("timeout", "error")
    assert time.monotonic() - start < 10


def test_a_sleeper_is_killed() -> None:
    result = run("import time\ntime.sleep(60)", Limits(seconds=1))
    assert result == SandboxResult("timeout", error="It ran longer than 1 s.")


def test_a_memory_hog_runs_into_its_limit() -> None:
    result = run("return len('x' * 4_000_000_000)")
    assert result.outcome == "error" and "MemoryError" in result.error


@pytest.mark.parametrize(
    "body",
    [
        "import os\nwhile True: os.fork()",
        "import os\nos.posix_spawn('/bin/true', ['/bin/true'], {})",
        "import subprocess\nsubprocess.run(['/bin/true'])",
        "import os\nos.system('true')",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
    ],
    ids=["fork bomb", "spawn", "subprocess", "system", "multiprocessing"],
)
def test_no_process_can_be_started(body: str) -> None:
    before = len(os.listdir("/proc")) if Path("/proc").is_dir() else 0
    assert run(body).outcome in ("error", "timeout")
    if before:
        assert len(os.listdir("/proc")) < before + 200


def test_a_flood_of_threads_ends() -> None:
    body = "import threading\nwhile True: threading.Thread(target=__import__('time').sleep).start()"
    assert run(body).outcome in ("error", "timeout")


def test_files_cannot_be_written_anywhere(tmp_path: Path) -> None:
    target = tmp_path / "written"
    for path in (str(target), "here.txt", "/tmp/prism-sandbox-escape"):
        result = run(f"open({path!r}, 'w').write('x')")
        assert result.outcome == "error" and "PermissionError" in result.error
    assert not target.exists() and not Path("/tmp/prism-sandbox-escape").exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "/proc/1/environ", __file__])
def test_files_outside_the_library_cannot_be_read(path: str) -> None:
    result = run(f"return open({path!r}).read()")
    assert result.outcome == "error" and "PermissionError" in result.error


def test_paths_cannot_climb_out_of_the_library() -> None:
    climb = f"{os.path.dirname(os.__file__)}/../../../../../../../../etc/passwd"
    assert run(f"return open({climb!r}).read()").outcome == "error"


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISM_SECRET_OF_A_TEST", "hush")
    result = run("import os\nreturn sorted(os.environ)")
    # The interpreter itself may set the encoding of the locale.
    assert result.outcome == "done" and set(result.values[0]) <= {"LC_CTYPE"}


@pytest.mark.parametrize(
    "body",
    [
        "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)",
        "import urllib.request\nreturn urllib.request.urlopen('http://127.0.0.1:9').read()",
        "import ctypes\nreturn ctypes.CDLL(None).getpid()",
        "import os\nos.kill(os.getppid(), 9)",
        "import os\nos.remove('/tmp/nothing')",
        "import sys\nsys.addaudithook(lambda *a: None)\nimport os\nreturn os.listdir('/')",
        "import importlib, sys\nsys.modules.pop('ctypes', None)\nimport ctypes",
    ],
    ids=["socket", "url", "native", "kill", "remove", "hook", "reimport"],
)
def test_doors_stay_closed(body: str) -> None:
    result = run(body)
    assert result.outcome == "error", result


def test_a_flood_of_output_is_bounded() -> None:
    start = time.monotonic()
    result = run("return 'x' * 50_000_000", Limits(seconds=3))
    assert result.outcome == "error"
    assert run("print('x' * 1_000_000)\nreturn 1").values == (1,)  # printing goes nowhere
    assert time.monotonic() - start < 12


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def g():\n    return 1", "no function 'f'"),
        ("def f(:\n", "SyntaxError"),
        ("def f():\n    raise SystemExit(0)", "SystemExit"),
        ("import os\ndef f():\n    os._exit(0)", "without results"),
        ("def f():\n    return object()", "TypeError"),
        ("def f():\n    return f()", "RecursionError"),
        ("", "no function 'f'"),
        ("\0", "Error"),
    ],
)
def test_what_goes_wrong_is_said(code: str, said: str) -> None:
    result = run_function(code, "f", [[]], QUICK)
    assert result.outcome == "error" and said in result.error


def test_results_cannot_be_forged_by_writing_to_the_report() -> None:
    body = "import os\nfor fd in range(3, 16):\n    try:\n"
    body += "        os.write(fd, b'{\"values\": [42]}')\n"
    body += "    except OSError:\n        pass\nreturn 1"
    result = run(body)
    # Even a report that was spoilt holds only what the code could have returned anyway.
    assert result.outcome == "error" or result.values == (1,)


def test_a_program_of_a_megabyte_is_refused_at_once() -> None:
    result = run_function("x = 1\n" * 200_000, "f", [[]])
    assert result.outcome == "refused" and "1,200,000" in result.error
