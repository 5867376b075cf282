"""The inside of the sandbox: limit this process, then define and call a stranger's function.

Run as a file by `sandbox.py` in an isolated interpreter; it imports nothing of this package.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import sys
from typing import Any

_LIBRARY = """abc array bisect calendar cmath collections collections.abc contextlib copy
dataclasses datetime decimal enum fractions functools hashlib heapq itertools math numbers
operator random re statistics string textwrap time types typing unicodedata warnings"""
"""Loaded before the doors close: `nobody` may not be able to read the library of root's Python."""
_NOBODY = 65534
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_REFUSED = """os. shutil. socket. subprocess. ctypes. pty. signal. resource. fcntl. mmap. sqlite3.
tempfile. glob. webbrowser. ftplib. smtplib. urllib. http. sys.settrace sys.setprofile
sys._getframe gc. syslog. import_native code.__new__ builtins.input builtins.breakpoint"""
"""Beginnings of the audit events that are refused."""
_NATIVE = {"ctypes", "_ctypes", "_posixsubprocess", "_socket", "mmap", "_multiprocessing", "gc"}


def main() -> None:
    """Read the request, close every door, run the code, report."""
    request = json.load(sys.stdin)
    for name in _LIBRARY.split():
        importlib.import_module(name)
    report = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    library = tuple({os.path.realpath(p) + os.sep for p in sys.path if os.path.isdir(p)})
    _leave_namespaces()
    _limit(request)
    _become_nobody()
    sys.addaudithook(_guard(library))
    result = _run(request["code"], request["entry"], request["calls"])
    os.write(report, json.dumps(result).encode())
    os._exit(0)


def _leave_namespaces() -> None:
    """Leave the network behind where the kernel permits it; other layers hold where it does not."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if not hasattr(libc, "unshare"):
        return
    wanted = _CLONE_NEWNET | _CLONE_NEWIPC
    if libc.unshare(wanted) != 0:
        libc.unshare(_CLONE_NEWUSER | wanted)


def _limit(request: dict[str, Any]) -> None:
    limits = {
        resource.RLIMIT_CPU: request["cpu_seconds"],
        resource.RLIMIT_AS: request["memory_bytes"],
        resource.RLIMIT_FSIZE: request["file_bytes"],
        resource.RLIMIT_NOFILE: 16,
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


def _guard(library: tuple[str, ...]) -> Any:
    """Make an audit hook that allows computing and the standard library, and nothing else."""
    realpath, refused, native = os.path.realpath, tuple(_REFUSED.split()), _NATIVE
    sep, write_flags = os.sep, os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    listing = ("os.listdir", "os.scandir")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            is_text = isinstance(path, str)
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or flags & write_flags
            if not is_text or writes or not realpath(path).startswith(library):
                raise PermissionError("files cannot be opened here")
        elif event == "import":
            if arguments[0].partition(".")[0] in native:
                raise ImportError(f"{arguments[0]} cannot be imported here")
        elif event in listing:
            path = arguments[0]
            if not isinstance(path, str) or not (realpath(path) + sep).startswith(library):
                raise PermissionError("folders cannot be listed here")
        elif event.startswith(refused):
            raise PermissionError(f"{event} is not allowed here")

    return hook


def _run(code: str, entry: str, calls: list[list[Any]]) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "answer"}
    try:
        exec(compile(code, "answer.py", "exec"), space)
        function = space.get(entry)
        if not callable(function):
            return {"error": f"There is no function '{entry}'."}
        values = [function(*arguments) for arguments in calls]
        return {"values": json.loads(json.dumps(values))}
    except BaseException as error:  # whatever a stranger's code raises is its result
        return {"error": f"{type(error).__name__}: {str(error)[:150]}"}


if __name__ == "__main__":
    main()
