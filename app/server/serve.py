"""From the command line to a served page.

Nothing that the page is made of imports torch or transformers. They are imported with the default
model in the background as soon as the page is served, so that the first visitor waits for neither.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import Route

from app.common.shared import AT_ONCE
from app.server.deployment import Deployment, deploy
from app.server.door import Door, DoorRules
from app.server.headers import SecurityHeaders
from app.server.health import Health
from app.server.operator import Operator, operator_token
from app.server.options import login_of, parse
from app.server.page import build_page
from app.server.sessions import Sessions, use_lean_sessions, waiting_scopes
from app.server.theme import css, head, theme
from app.services.block_list import BlockList
from app.services.clients import Clients
from app.services.event_log import EventLog
from app.services.jobs import Jobs
from app.services.model_pool import Loader, ModelPool
from app.services.retention import Janitor
from app.services.settings import Settings, kept_secret
from app.services.study_shelf import StudyImports
from prism_core.errors import InputError, PrismError
from prism_core.models.generator import Generator
from prism_core.models.sources import is_remote, open_model
from prism_core.progress import Progress
from prism_core.storage import Store
from prism_core.types import Message, Sampling
from prism_core.utils.turnstile import Turnstile


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        _check_address(options.host, options.port)
        served = assemble(deploy(options))
    except PrismError as error:
        _complain(error)
        return 2
    try:
        _launch(served)
        threading.Thread(target=_warm_up, args=(served,), daemon=True).start()
        served.jobs.start()
        served.janitor.start()
        served.page.block_thread()
    finally:
        served.jobs.stop()
    return 0


@dataclass(frozen=True)
class Served:
    """The app's parts, put together and not started yet."""

    deployment: Deployment
    pool: ModelPool
    store: Store
    jobs: Jobs
    page: gr.Blocks
    rules: DoorRules
    janitor: Janitor
    routes: Sequence[Route]
    """What is served beside the page."""


def assemble(deployment: Deployment) -> Served:
    """Put the app together.

    Raises:
        PrismError: the store cannot be opened, or the app's home not be written.
    """
    settings, quotas = deployment.settings, deployment.quotas
    store = Store()
    pool = ModelPool(model_loader(settings), turnstile=Turnstile(store.home))
    log = EventLog(store.home / "logs", echo=deployment.space is not None)
    jobs = Jobs(store, quotas=quotas, log=log)
    imports = StudyImports(store.home / "studies", settings, quotas, log)
    page = build_page(settings, pool, store, jobs, imports, quotas.queue)
    rules = _door_rules(deployment, page, store, log)
    token = operator_token(store.home / "server", os.environ)
    operator = Operator(token, settings, rules, store, jobs, imports)
    routes = [Health(settings, pool, store, jobs).route(), *operator.routes()]
    janitor = Janitor(store, imports, deployment.keep, rules.log)
    return Served(deployment, pool, store, jobs, page, rules, janitor, routes)


def _door_rules(deployment: Deployment, page: gr.Blocks, store: Store, log: EventLog) -> DoorRules:
    folder = store.home / "server"
    return DoorRules(
        hosts=deployment.hosts,
        clients=Clients(kept_secret(folder / "client-secret"), deployment.settings.has_login),
        quotas=deployment.quotas,
        blocks=BlockList(folder / "blocked.json"),
        log=log,
        sessions=Sessions(),
        waiting=lambda: waiting_scopes(page),
    )


def _launch(served: Served) -> None:
    """Serve the page; return as soon as it is served."""
    options = served.deployment.options
    middleware = [Middleware(SecurityHeaders), Middleware(Door, rules=served.rules)]
    served.page.launch(
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
        max_file_size=served.deployment.settings.max_upload_bytes,
        max_threads=2 * AT_ONCE,  # a streaming answer holds one while it waits for its next word
        strict_cors=True,
        prevent_thread_lock=True,
        app_kwargs={"middleware": middleware, "routes": list(served.routes)},
    )
    use_lean_sessions(served.page, served.rules.sessions)


def model_loader(settings: Settings) -> Loader:
    """Return how the pool loads a model: from this machine, or `NAME:MODEL` at an endpoint."""

    def load(reference: str, progress: Progress | None) -> Generator:
        if settings.public and is_remote(reference) and reference not in settings.models:
            allowed = ", ".join(settings.models)
            raise InputError(f"The model '{reference}' cannot be used here. Allowed: {allowed}.")
        return open_model(reference, progress)

    return load


def _warm_up(served: Served) -> None:
    name = served.deployment.settings.default_model
    try:
        with served.pool.lend(name) as model:
            if not is_remote(name):
                # Whatever is made at the first answer need not be waited for by the first visitor.
                model.generate([(Message("user", "Hello"),)], Sampling(max_new_tokens=2))
    except PrismError as error:
        # The page is of use without a model; whoever compares is told the same.
        _complain(f"{name}: {error}")


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
