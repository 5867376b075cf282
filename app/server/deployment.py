"""Where and for whom the app runs: what the command line and the environment say together."""

from __future__ import annotations

import argparse
import os
from collections.abc import MutableMapping
from dataclasses import dataclass, replace

from app.server.hosts import HostRule, host_rule, is_loopback
from app.services.clients import SPACE_PROXIES
from app.services.quotas import Quotas, quotas_of
from app.services.retention import Keep, keep_of
from app.services.settings import Settings, read_settings
from app.services.space import Space, disk_sentence, lasting_folders, preloaded_models, space_of
from prism_core.models.sources import EMBEDDED
from prism_core.storage.folders import data_dir


@dataclass(frozen=True)
class Deployment:
    """One way in which the app is served."""

    options: argparse.Namespace
    space: Space | None
    settings: Settings
    quotas: Quotas
    keep: Keep

    @property
    def hosts(self) -> HostRule:
        """The names that it answers to."""
        options, space = self.options, self.space
        name = None if space is None else space.host
        return host_rule(options.host, options.allow_host, share=options.share, space=name)


def deploy(
    options: argparse.Namespace, environment: MutableMapping[str, str] = os.environ
) -> Deployment:
    """Find out how the app is served, and let the environment say so from now on.

    The worker inherits it: whether the copy is public, its models, its folders. Uvicorn reads from
    it whose forwarded addresses are believed.

    Raises:
        InputError: a variable's value is not allowed.
    """
    space = space_of(environment)
    environment.update(lasting_folders(space, environment))
    exposed = options.share or not is_loopback(options.host)
    settings = read_settings(
        environment,
        exposed=exposed,
        trusted=options.trusted,
        preloaded=preloaded_models() if space is not None else (),
    )
    keep = keep_of(settings.public, environment)
    if settings.public:
        environment["PRISM_PUBLIC"] = "1"
        listed = [name for name in settings.models if name != EMBEDDED]
        environment["PRISM_MODEL_ALLOWLIST"] = ",".join(listed)
    proxies = [*options.proxy, *([SPACE_PROXIES] if space is not None else [])]
    environment["FORWARDED_ALLOW_IPS"] = ",".join(proxies)
    settings = replace(
        settings,
        has_login=space is not None and space.has_login,
        disk_note=disk_sentence(space, settings.public, keep.days, data_dir()),
    )
    return Deployment(options, space, settings, quotas_of(settings.public, options.room), keep)
