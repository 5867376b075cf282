"""Start a child process that the kernel confines: Landlock for files, seccomp for system calls.

The library `sandlock` does both, and needs neither root nor a container. The child may read the
interpreter, its standard library and the folders that are named, and nothing else: no other file,
no network, no signal, no second process, and not `/proc`, where the parent's environment stands.
Where a kernel or a platform lacks one of these, `why_not` says so, and `start` uses a plain child.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO

_PYTHON = (sys.executable, "-I", "-S", "-B")
_SECRET = "what the probe must not read"
_PROBE = (
    "import sys\ntry: print(open(sys.argv[1]).read())\nexcept PermissionError: print('refused')"
)
_PROBE_SECONDS = 20.0


@cache
def why_not() -> str:
    """Return why this machine cannot confine a child, or '' where a child proved that it can."""
    try:
        import sandlock
    except (ImportError, OSError):  # OSError: a library for another processor
        return "the package sandlock is not installed (it exists for Linux alone)"
    found, needed = sandlock.landlock_abi_version(), sandlock.min_landlock_abi()
    if found < needed:
        return f"this kernel's Landlock has version {max(found, 0)}, and {needed} is needed"
    with tempfile.TemporaryDirectory(prefix="prism-probe-") as folder:
        secret = Path(folder) / "secret"
        secret.write_text(_SECRET, encoding="ascii")
        try:
            with start(["-c", _PROBE, str(secret)], folder, readable=(), confined=True) as output:
                said = output.read(100).strip()
        except (RuntimeError, OSError) as error:
            return f"the kernel refused to confine a process ({error})"
    return "" if said == b"refused" else "a confined process could read what it must not"


@contextlib.contextmanager
def start(
    arguments: Sequence[str], folder: str, readable: Sequence[str], *, confined: bool
) -> Iterator[IO[bytes]]:
    """Run our Python with `arguments` in `folder`, isolated from the environment; yield its output.

    The child and all that it started are dead when the block ends. It may read `readable`, which a
    child that is not `confined` is not held to.

    Raises:
        RuntimeError: the kernel refused to confine it.
    """
    command = [*_PYTHON, *arguments]
    with _confined(command, folder, readable) if confined else _plain(command, folder) as output:
        yield output


@contextlib.contextmanager
def _confined(command: list[str], folder: str, readable: Sequence[str]) -> Iterator[IO[bytes]]:
    from sandlock import Sandbox, StdioMode

    sandbox = Sandbox(
        fs_readable=[*_interpreter(), *readable],
        cwd=folder,
        clean_env=True,
        max_processes=1,
        no_coredump=True,
    )
    null = StdioMode.NULL
    with sandbox.popen(command, stdin=null, stdout=StdioMode.PIPED, stderr=null) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()
            process.wait(timeout=_PROBE_SECONDS)


@contextlib.contextmanager
def _plain(command: list[str], folder: str) -> Iterator[IO[bytes]]:
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={},
        bufsize=0,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()


@cache
def _interpreter() -> tuple[str, ...]:
    """Return what our Python reads before it runs a line: itself, its library, shared libraries."""
    paths = sysconfig.get_paths()
    wanted = [
        os.path.realpath(sys.executable),
        os.path.join(sys.prefix, "pyvenv.cfg"),
        os.path.realpath(paths["stdlib"]),
        os.path.realpath(paths["platstdlib"]),
        sysconfig.get_config_var("LIBDIR") or "",
        *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/dev/null"),
    ]
    return tuple(dict.fromkeys(path for path in wanted if path and os.path.exists(path)))
