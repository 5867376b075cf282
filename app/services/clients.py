"""Who asks, for the quotas: an address, or whoever logged in with Hugging Face.

A visitor's own id lives in the browser, and a script invents as many as it likes; an address it
does not. The address is the connection's. A forwarded one counts only where the connection comes
from a proxy that the operator named, or on a Space from its own network; uvicorn reads it then,
from the right, so that what a visitor wrote in front of it is never looked at. Clients are known by
a keyed hash: no log and no page shows an address.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

CLIENT_KEY = "prism.client"
"""Where the door leaves a client's name in the connection's scope."""
SPACE_PROXIES = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7"
"""The networks from which a Space is reached: those that no stranger on the internet has."""
_DIGITS = 12


@dataclass(frozen=True)
class Clients:
    """Names clients."""

    secret: str
    """Keys the hash, so that nobody finds an address by trying all of them."""
    trusts_logins: bool = False
    """Whether the session is signed with a key that strangers do not have: on a Space alone."""

    def name(self, scope: Mapping[str, Any]) -> str:
        """Return the name of whoever a connection comes from: twelve hexadecimal digits."""
        login = _login(scope) if self.trusts_logins else ""
        who = f"login {login}" if login else f"address {network_of(scope)}"
        return hmac.new(self.secret.encode(), who.encode(), hashlib.sha256).hexdigest()[:_DIGITS]


def network_of(scope: Mapping[str, Any]) -> str:
    """Return the address of a connection; of IPv6 the network, since a client has all of it."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def client_of(request: gr.Request) -> str:
    """Return the name of whoever a listener serves; empty where no connection is behind it."""
    scope = getattr(request.request, "scope", {}) if isinstance(request, gr.Request) else {}
    return str(scope.get(CLIENT_KEY, ""))


def _login(scope: Mapping[str, Any]) -> str:
    info = scope.get("session", {}).get("oauth_info", {})
    return str(info.get("userinfo", {}).get("sub", "")) if isinstance(info, dict) else ""
