"""From the command line to a served page.

Every bad value ends in one clear line and exit status 2. The default model is loaded in the
background as soon as the page is served, so that the first visitor need not wait for it.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import gradio as gr
from starlette.middleware import Middleware

from app.server.headers import SecurityHeaders
from app.server.page import build_page
from app.server.theme import css, head, theme
from app.services.jobs import Jobs
from app.services.model_pool import Loader, ModelPool
from app.services.settings import Settings, read_settings
from prism_core.errors import InputError, PrismError
from prism_core.models.generator import Generator
from prism_core.models.sources import is_remote, open_model
from prism_core.progress import Progress
from prism_core.storage import Store

DEFAULT_PORT = 7860


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage in front."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the command line's values, checked; exit with status 2 on a bad one."""
    parser = _Parser(description="Serve PRISM Studio.")
    host = os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    parser.add_argument("--host", default=host, help=f"address to listen on (default: {host})")
    parser.add_argument(
        "--port",
        type=_port,
        default=os.environ.get("GRADIO_SERVER_PORT") or str(DEFAULT_PORT),
        help=f"port to listen on (default: {DEFAULT_PORT})",
    )
    parser.add_argument("--share", action="store_true", help="open a public gradio.live tunnel")
    parser.add_argument("--mcp", action="store_true", help="serve the API as MCP tools as well")
    parser.add_argument("--auth", type=_auth, metavar="USER:PASSWORD", help="ask for a password")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    settings = read_settings()
    pool = ModelPool(model_loader(settings))
    try:
        _check_address(options.host, options.port)
        store = Store()
        jobs = Jobs(store)
        page = build_page(settings, pool, store, jobs)
    except PrismError as error:
        _complain(error)
        return 2
    threading.Thread(target=_warm_up, args=(pool, settings), daemon=True).start()
    jobs.start()
    try:
        _launch(page, options, settings)
    finally:
        jobs.stop()
    return 0


def _launch(page: gr.Blocks, options: argparse.Namespace, settings: Settings) -> None:
    page.launch(
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        mcp_server=options.mcp,
        auth=options.auth,
        theme=theme(),
        css=css(),
        head=head(),
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        allowed_paths=[],
        max_file_size=settings.max_upload_bytes,
        strict_cors=True,
        app_kwargs={"middleware": [Middleware(SecurityHeaders)]},
    )


def model_loader(settings: Settings) -> Loader:
    """Return how the pool loads a model: from this machine, or `NAME:MODEL` at an endpoint."""

    def load(reference: str, progress: Progress | None) -> Generator:
        if settings.public and is_remote(reference) and reference not in settings.models:
            allowed = ", ".join(settings.models)
            raise InputError(f"The model '{reference}' cannot be used here. Allowed: {allowed}.")
        return open_model(reference, progress)

    return load


def _warm_up(pool: ModelPool, settings: Settings) -> None:
    try:
        pool.get(settings.default_model)
    except PrismError as error:
        # The page is of use without a model; whoever compares is told the same.
        _complain(f"{settings.default_model}: {error}")


def _complain(what: object) -> None:
    print(f"{Path(sys.argv[0]).name}: {what}", file=sys.stderr)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port; use a number from 1 to 65535")
    return int(text)


def _auth(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError(f"'{user}' is not of the form user:password")
    return user, password


def _check_address(host: str, port: int) -> None:
    """Find out before anything is loaded that nothing can be served there.

    Raises:
        InputError: the port is taken, or the host unknown.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
