"""The inside of the sandbox: limit this process, then define and call a stranger's function.

Run as a file by `sandbox.py` in an isolated interpreter; it imports nothing of this package.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import types
from typing import Any

_LIBRARY = """_strptime abc array ast base64 binascii bisect calendar cmath collections
collections.abc contextlib copy csv dataclasses datetime decimal difflib enum fractions functools
graphlib hashlib heapq hmac html inspect io itertools json keyword locale math numbers operator os
pprint queue random re secrets statistics string struct sys textwrap threading time timeit traceback
types typing unicodedata uuid warnings zlib"""
"""Loaded before the doors close; what these do not load cannot be imported."""
_OURS_ALONE = ("ctypes", "_ctypes", "resource", "__main__")
"""What this file needs and a solution does not."""
_NOBODY = 65534
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_REFUSED = """os. shutil. socket. subprocess. ctypes. pty. signal. resource. fcntl. mmap. sqlite3.
tempfile. glob. webbrowser. ftplib. smtplib. urllib. http. sys.settrace sys.setprofile
gc. syslog. marshal. code.__new__ builtins.input builtins.breakpoint"""
"""Beginnings of the audit events that are refused."""


def main() -> None:
    """Read the request, close every door, run the code, report."""
    with open(sys.argv[1], encoding="ascii") as file:
        request = json.load(file)
    for name in _LIBRARY.split():
        importlib.import_module(name)
    report = os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(max(report, null) + 1, 4096)
    sys.stdout = sys.stderr = _Nowhere()
    sys.argv = [""]
    _leave_namespaces()
    _limit(request)
    _become_nobody()
    for name in _OURS_ALONE:
        sys.modules.pop(name, None)
    sys.addaudithook(_hook)
    result = _run(request["code"], request["entry"], request["calls"])
    os.write(report, json.dumps(result).encode())
    os._exit(0)


class _Nowhere(io.TextIOBase):
    """What code prints goes nowhere."""

    def write(self, text: str) -> int:
        """Forget the text."""
        return len(text)


def _leave_namespaces() -> None:
    """Leave the network behind where the kernel permits it; other layers hold where it does not."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if not hasattr(libc, "unshare"):
        return
    wanted = _CLONE_NEWNET | _CLONE_NEWIPC
    if libc.unshare(wanted) != 0:
        libc.unshare(_CLONE_NEWUSER | wanted)


def _limit(request: dict[str, Any]) -> None:
    import resource

    limits = {
        resource.RLIMIT_CPU: request["cpu_seconds"],
        resource.RLIMIT_AS: request["memory_bytes"],
        resource.RLIMIT_FSIZE: request["file_bytes"],
        resource.RLIMIT_NOFILE: 0,  # those that are open stay; no other, of no sort, can be made
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for what, most in limits.items():
        hard = resource.getrlimit(what)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (value, value))


def _become_nobody() -> None:
    """Root is bound by no limit on processes and may read every file."""
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    except (OSError, ValueError):  # inside a user namespace there is nobody else to become
        return


def _hook(
    event: str,
    arguments: tuple[Any, ...],
    # Bound here: code that changes this module's globals must not change the hook.
    refused: tuple[str, ...] = tuple(_REFUSED.split()),
) -> None:
    """Refuse, in Python's words, what the kernel refuses; it needs no function of the library."""
    if event == "import":
        raise ImportError(f"the module {arguments[0]} is not among those that are loaded here")
    if event == "open":
        raise PermissionError("files cannot be opened here")
    if event.startswith(refused):
        raise PermissionError(f"{event} is not allowed here")


def _run(code: str, entry: str, calls: list[list[Any]]) -> dict[str, Any]:
    answer = sys.modules["answer"] = types.ModuleType("answer")  # data classes look it up
    try:
        exec(compile(code, "answer.py", "exec"), vars(answer))
        function = vars(answer).get(entry)
        if not callable(function):
            return {"error": f"There is no function '{entry}'."}
        values = [function(*arguments) for arguments in calls]
        return {"values": json.loads(json.dumps(values))}
    except BaseException as error:  # whatever a stranger's code raises is its result
        return {"error": f"{type(error).__name__}: {str(error)[:150]}"}


if __name__ == "__main__":
    main()
