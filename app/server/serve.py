"""From the command line to a served page.

Nothing that the page is made of imports torch or transformers. They are imported with the default
model in the background as soon as the page is served, so that the first visitor waits for neither.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from app.server.door import Door, DoorRules
from app.server.headers import SecurityHeaders
from app.server.hosts import host_rule, is_loopback
from app.server.options import login_of, parse
from app.server.page import build_page
from app.server.sessions import Sessions, use_lean_sessions, waiting_scopes
from app.server.theme import css, head, theme
from app.services.block_list import BlockList
from app.services.clients import SPACE_PROXIES, Clients
from app.services.event_log import EventLog
from app.services.jobs import Jobs
from app.services.model_pool import Loader, ModelPool
from app.services.quotas import Quotas, quotas_of
from app.services.settings import Settings, kept_secret, read_settings
from prism_core.errors import InputError, PrismError
from prism_core.models.generator import Generator
from prism_core.models.sources import is_remote, open_model
from prism_core.progress import Progress
from prism_core.storage import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    exposed = options.share or not is_loopback(options.host)
    settings = read_settings(exposed=exposed, trusted=options.trusted)
    quotas = quotas_of(settings.public, options.room)
    pool = ModelPool(model_loader(settings))
    try:
        _check_address(options.host, options.port)
        _tell_surroundings(settings, options)
        store = Store()
        jobs = Jobs(store, quotas=quotas)
        page = build_page(settings, pool, store, jobs, quotas)
        rules = door_rules(page, options, store, quotas)
    except PrismError as error:
        _complain(error)
        return 2
    try:
        _launch(page, options, settings, rules)
        threading.Thread(target=_warm_up, args=(pool, settings), daemon=True).start()
        jobs.start()
        page.block_thread()
    finally:
        jobs.stop()
    return 0


def _tell_surroundings(settings: Settings, options: argparse.Namespace) -> None:
    """Let the worker, which inherits the environment, and uvicorn know what was decided."""
    if settings.public:
        os.environ["PRISM_PUBLIC"] = "1"
    proxies = [*options.proxy, *([SPACE_PROXIES] if os.environ.get("SPACE_ID") else [])]
    os.environ["FORWARDED_ALLOW_IPS"] = ",".join(proxies)


def door_rules(
    page: gr.Blocks, options: argparse.Namespace, store: Store, quotas: Quotas
) -> DoorRules:
    """Return what the door goes by.

    Raises:
        StorageError: the app's home cannot be written.
    """
    space = os.environ.get("SPACE_HOST", "") if os.environ.get("SPACE_ID") else None
    folder = store.home / "server"
    return DoorRules(
        hosts=host_rule(options.host, options.allow_host, share=options.share, space=space),
        clients=Clients(kept_secret(folder / "client-secret"), space is not None),
        quotas=quotas,
        blocks=BlockList(folder / "blocked.json"),
        log=EventLog(store.home / "logs", echo=space is not None),
        sessions=Sessions(),
        waiting=lambda: waiting_scopes(page),
    )


def _launch(
    page: gr.Blocks, options: argparse.Namespace, settings: Settings, rules: DoorRules
) -> None:
    """Serve the page; return as soon as it is served."""
    page.launch(
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        mcp_server=options.mcp,
        auth=login_of(options.auth),
        theme=theme(),
        css=css(),
        head=head(),
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        allowed_paths=[],
        max_file_size=settings.max_upload_bytes,
        strict_cors=True,
        prevent_thread_lock=True,
        app_kwargs={"middleware": [Middleware(SecurityHeaders), Middleware(Door, rules=rules)]},
    )
    use_lean_sessions(page, rules.sessions)


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
