"""Attacks on the sandbox: with Python's own means, with raw system calls, and from end to end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from prism_core.checks import confinement, run_check, sandbox
from prism_core.checks.check import Check
from prism_core.checks.sandbox import Limits, SandboxError, run_function
from prism_core.study.file import load_study
from prism_core.tasks import TASKS

SECRET = "sk-only-the-parent-knows-3141"
QUICK = Limits(seconds=3)
needs_kernel = pytest.mark.skipif(
    bool(confinement.why_not()), reason=f"no confinement here: {confinement.why_not()}"
)

# Each tries to return what it must not see, or to do what it must not do.
PYTHON_ATTACKS = {
    "abspath replaced": "import sys\nsys.modules['posixpath'].abspath = lambda p: LIB\n"
    "return open(SECRET).read()",
    "realpath replaced": "import sys\nsys.modules['posixpath'].realpath = lambda p: LIB\n"
    "return open(SECRET).read()",
    "os.fspath replaced": "import os\nos.fspath = lambda p: LIB\nreturn open(SECRET).read()",
    "a str that lies": "class S(str):\n    def startswith(self, *a): return True\n"
    "return open(S(SECRET)).read()",
    "a path that changes": "class P:\n    n = 0\n    def __fspath__(self):\n        P.n += 1\n"
    "        return LIB if P.n == 1 else SECRET\nreturn open(P()).read()",
    "the parent's environment": "import os\nreturn open(f'/proc/{os.getppid()}/environ').read()",
    "the parent's memory": "import os\nreturn open(f'/proc/{os.getppid()}/mem', 'rb').read(9)",
    "its own environment": "return open('/proc/self/environ').read()",
    "the file api of io": "import io\nreturn io.open_code(SECRET).read()",
    "FileIO": "import io\nreturn str(io.FileIO(SECRET).read())",
    "a descriptor by os": "import os\nreturn os.read(os.open(SECRET, 0), 99).decode()",
    "a loader": "import sys\nreturn type(sys.modules['json'].__loader__)('x', SECRET).get_data("
    "SECRET).decode()",
    "linecache": "import linecache\nreturn linecache.getlines(SECRET)[0]",
    "a listing": "import os\nreturn os.listdir(os.path.dirname(SECRET))",
    "a hard link": "import os\nos.link(SECRET, 'here')\nreturn 'linked'",
    "a symbolic link": "import os\nos.symlink(SECRET, 'here')\nreturn 'linked'",
    "a rename": "import os\nos.rename(SECRET, SECRET + '2')\nreturn 'renamed'",
    "a chmod": "import os\nos.chmod(SECRET, 0o777)\nreturn 'changed'",
    "the hook among the gc's objects": "import gc\nreturn len(gc.get_objects())",
    "the globals of the child": "import sys\nsys.modules['__main__']._REFUSED = ''\n"
    "return open(SECRET).read()",
    "defaults of the hook": "import sys\nf = sys._getframe()\nwhile f.f_back: f = f.f_back\n"
    "f.f_globals['_hook'].__defaults__ = ((),)\nf.f_globals['_hook'].__code__ = (lambda *a: None"
    ").__code__\nreturn open(SECRET).read()",
    "native code": "import ctypes\nreturn ctypes.CDLL(None).getpid()",
    "native code from the frame": "import sys\nf = sys._getframe()\nwhile f.f_back: f = f.f_back\n"
    "return f.f_globals['ctypes'].CDLL(None).getpid()",
    "bytecode": "f = lambda: 1\nreturn f.__code__.replace(co_code=b'\\x00' * 8) and 'forged'",
    "marshalled bytecode": "import marshal\nreturn repr(marshal.loads(b'c' + b'\\0' * 90))",
    "more descriptors": "import sys\nr = sys._getframe().f_back.f_back.f_back\nimport resource\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))\nreturn open(SECRET).read()",
    "a socket": "import socket\nsocket.create_connection(('127.0.0.1', PORT), 1)\nreturn 'out'",
    "a socket of _socket": "import _socket\n_socket.socket().connect(('127.0.0.1', PORT))\n"
    "return 'out'",
    "a kill": "import os\nos.kill(os.getppid(), 9)\nreturn 'killed'",
    "a kill of all": "import os\nos.kill(-1, 9)\nreturn 'killed'",
    "a fork": "import os\nreturn 'child' if os.fork() == 0 else 'parent'",
    "a pipe": "import os\nreturn os.pipe()",
    "a copied descriptor": "import os\nreturn os.dup(0)",
    "a memory file": "import os\nreturn os.memfd_create('x')",
}
LIBRARY_FILE = json.__file__


def attack(body: str, secret: Path, port: int = 9) -> sandbox.SandboxResult:
    """Run `def f(): body` with the names the attacks use."""
    names = f"LIB, SECRET, PORT = {LIBRARY_FILE!r}, {str(secret)!r}, {port}\n"
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return run_function(f"{names}def f():\n{lines}", "f", [[]], QUICK)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that the sandbox must neither read nor change, though everybody may."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o666)
    return path


@pytest.mark.parametrize("body", PYTHON_ATTACKS.values(), ids=PYTHON_ATTACKS.keys())
def test_python_gets_out_by_no_way(body: str, secret: Path) -> None:
    result = attack(body, secret)
    assert result.outcome in ("error", "timeout"), result
    assert SECRET not in str(result) and secret.read_text() == SECRET


# Code without the audit hook, as after an attack that defeated Python: what the kernel alone does.
# Each prints what it got, or fails.
RAW_ATTACKS = {
    "a file": "print(open(SECRET).read())",
    "a file to write": "print(open(SECRET, 'w').write('x'))",
    "a new file": "print(open('new', 'w').write('x'))",
    "the parent's environment": "print(open(f'/proc/{os.getppid()}/environ').read())",
    "the password file": "print(open('/etc/passwd').read())",
    "a path handle": "print(os.open(SECRET, os.O_PATH) and open(SECRET).read())",
    "openat2": "print(syscall(437, -100, SECRET.encode(), (c_uint64 * 3)(), 24))",
    "a listing": "print(os.listdir('/'))",
    "a deletion": "print(os.remove(SECRET))",
    "a truncation": "print(os.truncate(SECRET, 0))",
    "tcp": "import _socket\ns = _socket.socket()\ns.connect(('127.0.0.1', PORT))\nprint('out')",
    "udp": "import _socket\ns = _socket.socket(2, 2)\nprint(s.sendto(b'x', ('127.0.0.1', PORT)))",
    "a raw socket": "import _socket\nprint(_socket.socket(17, 3))",
    "an abstract socket": "import _socket\ns = _socket.socket(1)\ns.connect('\\0prism-abstract')\n"
    "print('out')",
    "a signal to the parent": "print(os.kill(os.getppid(), 0))",
    "a signal to init": "print(os.kill(1, 0))",
    "ptrace": "print(syscall(101, 16, os.getppid(), 0, 0))",
    "process_vm_readv": "print(syscall(310, os.getppid(), 0, 0, 0, 0, 0))",
    "pidfd_getfd": "print(syscall(438, syscall(434, os.getppid(), 0), 0, 0))",
    "a second process": "print(os.posix_spawn(sys.executable, [sys.executable], {}))",
    "a mount": "print(syscall(165, b'x', b'/tmp', b'tmpfs', 0, 0))",
    "a namespace": "print(syscall(272, 0x10000000))",
    "bpf": "print(syscall(321, 5, 0, 0))",
    "io_uring": "print(syscall(425, 1, (c_uint64 * 32)()))",
    "a kernel module": "print(syscall(313, 0, b'', 0))",
    "a key ring": "print(syscall(248, b'user', b'x', b'y', 1, -2))",
    "perf": "print(syscall(298, (c_uint64 * 32)(), 0, -1, -1, 0))",
}
_RAW_HEAD = """import os, sys
from ctypes import *
libc = CDLL(None, use_errno=True)
def syscall(*arguments):
    found = libc.syscall(*arguments)
    if found < 0: raise OSError(get_errno(), 'refused')
    return found
"""


REAL = (
    "a file",
    "a file to write",
    "the parent's environment",
    "openat2",
    "a listing",
    "a deletion",
)
REAL += ("tcp", "udp", "an abstract socket", "a signal to the parent", "a second process")
"""Those that succeed in a process that the kernel does not confine, whoever runs the tests."""
X86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="system calls by their number")


def raw_attack(body: str, secret: Path, *, confined: bool) -> str:
    """Run one of the attacks above without an audit hook, and return what it printed."""
    with listener() as port:
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        code = f"{_RAW_HEAD}SECRET, PORT = {str(secret)!r}, {port}\n"
        code += f"try:\n{lines}\nexcept OSError: print('refused')\n"
        folder = str(secret.parent)
        with confinement.start(["-c", code], folder, (), confined=confined) as output:
            return output.read(100_000).decode().strip()


@needs_kernel
@X86
@pytest.mark.parametrize("body", RAW_ATTACKS.values(), ids=RAW_ATTACKS.keys())
def test_the_kernel_alone_refuses(body: str, secret: Path) -> None:
    assert raw_attack(body, secret, confined=True) == "refused"
    assert secret.read_text() == SECRET and os.listdir(secret.parent) == ["secret"]


@X86
@pytest.mark.parametrize("name", REAL)
def test_the_attacks_are_real(name: str, secret: Path) -> None:
    assert raw_attack(RAW_ATTACKS[name], secret, confined=False) not in ("", "refused")


@contextmanager
def listener() -> Iterator[int]:
    """Something that an attack could reach: TCP, UDP and an abstract socket; yields the port."""
    import socket

    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(tcp.getsockname())
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind("\0prism-abstract")
            unix.listen()
            yield tcp.getsockname()[1]


def test_a_public_copy_without_confinement_runs_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "why_not", lambda: "this kernel is too old")
    options = {"entry": "f", "tests": [{"args": [], "expected": 1}]}
    check, answer = Check("code", options), "def f():\n    return 1"
    assert run_check(check, answer).passed  # on one's own machine the other layers do
    monkeypatch.setenv("PRISM_PUBLIC", "1")
    with pytest.raises(SandboxError, match="this kernel is too old"):
        run_check(check, answer)


@pytest.mark.parametrize("body", ["return open(SECRET).read()", "import os\nreturn os.fork()"])
def test_without_the_kernel_the_other_layers_hold(
    body: str, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "why_not", lambda: "this kernel is too old")
    assert attack("return 1", secret).values == (1,)
    assert attack(body, secret).outcome == "error"


LOOK_FOR_KEYS = """
import os, sys
sys.modules["posixpath"].abspath = sys.modules["posixpath"].realpath = lambda p: os.__file__
for pid in (os.getppid(), "self", 1):
    try:
        open(f"/proc/{pid}/environ", "rb").read()
    except PermissionError:
        continue
    raise SystemExit("a key was found")
"""


@contextmanager
def hostile_model() -> Iterator[str]:
    """A model whose programs are right, provided that they do not get at their host's keys."""
    solutions = {
        item.check.options["entry"]: (item.reference or "").replace("```python\n", "")
        for item in TASKS["open"].load()
        if item.check is not None and item.check.name == "code"
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            name = (re.findall(r"function (\w+)\(", asked) or ["f"])[-1]
            text = f"```python\n{LOOK_FOR_KEYS}{solutions.get(name, '```')}"
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
            data = json.dumps({**chunk, "choices": [choice], "usage": usage})
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(f"data: {data}\n\ndata: [DONE]\n\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()


def test_a_models_answer_does_not_find_the_key_of_its_endpoint(tmp_path: Path) -> None:
    """From end to end: a study asks a hostile endpoint, and grades its programs."""
    spec, folder = tmp_path / "spec.yaml", tmp_path / "study"
    choices = "n_per_category: 1\npersonas: [coding]\nlengths: [min]\n"
    spec.write_text(f"name: Attack\ntasks: [open]\nmodels: ['remote:m']\n{choices}")
    with hostile_model() as url:
        environment = {**os.environ, "PRISM_REMOTE_URL": url, "PRISM_REMOTE_KEY": SECRET}
        done = subprocess.run(
            [sys.executable, "-m", "prism_core", "study", "run", spec, "--out", folder],
            env=environment | {"PRISM_PUBLIC": "0"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    rows = load_study(folder / "study.parquet").rows
    coded = rows[rows["category"] == "coding"]
    # Right answers: the programs were run, and every door they tried was shut.
    assert len(coded) == 2 and set(coded["accuracy"]) == {1.0}
