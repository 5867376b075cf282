"""Which names the app answers to, and which pages may talk to it.

A page elsewhere can point its own name at this machine (DNS rebinding) and then read what the app
says, as long as the app answers to any name. So `Host` has to be one that the app is served under:
on a loopback address the names of this machine alone; on an address that others reach also this
machine's name, any bare address (a rebound page has a name) and what the operator names. A Space is
reached by the platform's names. `Origin`, which a browser sends where a page's script asks or
changes something, has to be the very address that was asked.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SHARE_SUFFIX = ".gradio.live"
"""Where Gradio's tunnel ends."""
_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class HostRule:
    """The names of one deployment, in lower case and without a port."""

    names: frozenset[str] = LOOPBACK
    suffixes: tuple[str, ...] = ()
    """Ends of further names."""
    pages: frozenset[str] = frozenset()
    """Names that pages have in visitors' browsers where a proxy calls the app by another."""
    any_address: bool = False
    """Whether every bare address is one of its names."""
    any_name: bool = False
    """Whether a platform in front decides which names lead here."""

    def problem(self, headers: Mapping[str, str]) -> str:
        """Say in one sentence why a request is not answered; empty where it is."""
        host = headers.get("host", "")
        name = name_of(host)
        if not self._is_ours(name):
            return (
                f"This app does not answer to the name '{name[:80]}'. Its operator can add names "
                "with --allow-host."
            )
        origin = headers.get("origin", "")
        if not origin or self._is_same(origin, host):
            return ""
        return f"A page of '{origin[:80]}' may not read or change anything here."

    def _is_ours(self, name: str) -> bool:
        if self.any_name or name in self.names or name.endswith(self.suffixes):
            return True
        return self.any_address and is_address(name)

    def _is_same(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
            port = str(parts.port or _PORTS.get(parts.scheme, ""))
        except ValueError:
            return False
        name = (parts.hostname or "").lower()
        if name != name_of(host):
            return name in self.pages or name.endswith(self.suffixes)
        given = port_of(host)
        return given == port if given else port in _PORTS.values()


def host_rule(
    bind: str, named: Iterable[str] = (), *, share: bool = False, space: str | None = None
) -> HostRule:
    """Return the rule for an app that is served on `bind`.

    Args:
        bind: the address that it listens on.
        named: further names, from the operator.
        share: whether Gradio's tunnel leads to it.
        space: the name under which a Space is reached; None elsewhere.
    """
    pages = frozenset(name.lower() for name in (*named, space) if name)
    names = {*LOOPBACK, bind.strip("[]").lower(), *pages}
    wide = not is_loopback(bind)
    if wide:
        own = socket.gethostname().lower()
        names |= {own, f"{own}.local"}
    suffixes = (SHARE_SUFFIX,) if share else ()
    return HostRule(frozenset(names), suffixes, pages, wide, space is not None)


def is_loopback(bind: str) -> bool:
    """Whether nobody but this machine reaches an address."""
    try:
        return ipaddress.ip_address(bind.strip("[]")).is_loopback
    except ValueError:
        return bind.lower() == "localhost"


def is_address(name: str) -> bool:
    """Whether a host's name is a bare address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def name_of(host: str) -> str:
    """Return the name in a `Host` header: in lower case, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).rstrip(".").lower()


def port_of(host: str) -> str:
    """Return the port in a `Host` header, empty where it names none."""
    name, _, port = host.rpartition(":")
    return port if name and port.isdecimal() and not name.endswith(":") else ""
