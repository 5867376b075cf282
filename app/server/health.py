"""`/healthz`: whether the app can do its work. It tells nothing of anybody.

The status is 200 while the store answers, and 503 otherwise; a model that is still being loaded is
no fault.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.server.door import HEALTH
from app.services.jobs import Jobs
from app.services.model_pool import ModelPool
from app.services.settings import Settings
from prism_core import __version__
from prism_core.errors import StorageError
from prism_core.storage import Store


@dataclass(frozen=True)
class Health:
    """Looks at the app's parts."""

    settings: Settings
    pool: ModelPool
    store: Store
    jobs: Jobs

    def route(self) -> Route:
        """Return the endpoint."""
        return Route(HEALTH, self._answer)

    def look(self) -> tuple[int, dict[str, str | bool | int]]:
        """Return the status and what is said."""
        try:
            works = self.store.has_work()
        except StorageError:
            works = None
        found: dict[str, str | bool | int] = {
            "status": "failing" if works is None else "ok",
            "version": __version__,
            "store": works is not None,
            "model": self.pool.is_loaded(self.settings.default_model),
            "workers": len(self.jobs.worker_pids),
        }
        return (503 if works is None else 200), found

    async def _answer(self, request: Request) -> JSONResponse:
        status, found = await run_in_threadpool(self.look)
        return JSONResponse(found, status, {"cache-control": "no-store"})
