"""The command line of `python app.py`, checked value by value.

Every bad value ends in one clear line and exit status 2. A password is best given by the variable
`PRISM_AUTH` or a file (`@FILE`), since others on the machine can read a command line; it is never
repeated in a message.
"""

from __future__ import annotations

import argparse
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from app.services.quotas import PEOPLE

DEFAULT_PORT = 7860
MAX_ROOM = 1_000
Users = Mapping[str, str]
"""Passwords by user."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage in front."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse(
    arguments: Sequence[str], environment: Mapping[str, str] = os.environ
) -> argparse.Namespace:
    """Return the command line's values, checked; exit with status 2 on a bad one."""
    parser = _Parser(description="Serve PRISM Studio.")
    host = default_host(environment)
    parser.add_argument("--host", default=host, help=f"address to listen on (default: {host})")
    parser.add_argument(
        "--port",
        type=_port,
        default=environment.get("GRADIO_SERVER_PORT") or str(DEFAULT_PORT),
        help=f"port to listen on (default: {DEFAULT_PORT})",
    )
    parser.add_argument("--share", action="store_true", help="open a public gradio.live tunnel")
    parser.add_argument("--mcp", action="store_true", help="serve the API as MCP tools as well")
    parser.add_argument(
        "--auth",
        type=_auth,
        metavar="USER:PASSWORD",
        default=environment.get("PRISM_AUTH") or None,
        help="ask for a password; @FILE reads one user a line (default: the variable PRISM_AUTH)",
    )
    _add_deployment(parser, environment)
    options = parser.parse_args(arguments)
    if options.mcp and options.auth:
        parser.error("--mcp with --auth: MCP clients cannot log in, so choose one of the two")
    return options


def _add_deployment(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    """Add what a copy that others reach needs to know."""
    parser.add_argument(
        "--trusted",
        action="store_true",
        default=environment.get("PRISM_TRUSTED", "").strip() == "1",
        help="lift the limits of a public copy: whoever reaches this one is trusted",
    )
    parser.add_argument(
        "--room",
        type=_room,
        metavar="PEOPLE",
        default=environment.get("PRISM_ROOM") or "0",
        help=f"people expected behind one address, if more than {PEOPLE}",
    )
    for flag, variable, what in (
        ("--allow-host", "PRISM_ALLOW_HOSTS", "a further name that the app answers to"),
        ("--proxy", "PRISM_PROXIES", "an address or network whose X-Forwarded-For is believed"),
    ):
        parser.add_argument(
            flag,
            action="append",
            metavar="NAME",
            default=_listed(environment.get(variable, "")),
            help=f"{what}; several times for several (default: the variable {variable})",
        )


def default_host(environment: Mapping[str, str] = os.environ) -> str:
    """Return the address to listen on: a Space is reached from outside, a laptop is not."""
    return environment.get("GRADIO_SERVER_NAME") or (
        "0.0.0.0" if environment.get("SPACE_ID") else "127.0.0.1"
    )


def login_of(users: Users | None) -> Callable[[str, str], bool] | None:
    """Return what decides whether a password is right; None where nobody is asked for one."""
    if not users:
        return None

    def is_right(user: str, password: str) -> bool:
        # A wrong user takes as long as a wrong password.
        known = users.get(user, "")
        return hmac.compare_digest(known.encode(), password.encode()) and bool(known)

    return is_right


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port; use a number from 1 to 65535")
    return int(text)


def _room(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_ROOM:
        raise argparse.ArgumentTypeError(
            f"'{text[:40]}' is not a number of people; use a number from 0 to {MAX_ROOM:,}"
        )
    return int(text)


def _auth(text: str) -> dict[str, str]:
    """Read `user:password`, or the lines of a file that have this form."""
    lines = [text]
    if text.startswith("@"):
        try:
            lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise argparse.ArgumentTypeError(f"the file '{text[1:]}' cannot be read") from error
    users = {}
    for line in filter(str.strip, lines):
        user, colon, password = line.strip().partition(":")
        if not (user and colon and password):
            raise argparse.ArgumentTypeError(f"'{user}' is not of the form user:password")
        users[user] = password
    if not users:
        raise argparse.ArgumentTypeError(f"the file '{text[1:]}' names no user")
    return users


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
