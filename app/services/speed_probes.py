"""What each model did in its short probe, measured once for the whole app."""

from __future__ import annotations

from collections.abc import Generator as Yields

import psutil

from app.services.model_pool import ModelPool, load_with_news
from prism_core import models, prism
from prism_core.errors import InputError
from prism_core.prism.forecast import SpeedProbe
from prism_core.progress import ProgressReport


class ProbeBook:
    """Probes by the model's reference."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._probes: dict[str, SpeedProbe] = {}
        self._busy: dict[str, bool] = {}

    def was_busy(self, reference: str) -> bool:
        """Whether other work ran on the machine while it was measured."""
        return self._busy.get(reference, False)

    def known(self, reference: str) -> SpeedProbe | None:
        """Return the probe of a model, or None before it was measured."""
        return self._probes.get(reference)

    def forget(self, reference: str) -> None:
        """Let the model be measured again."""
        self._probes.pop(reference, None)

    def is_ready(self, reference: str) -> bool:
        """Whether measuring would not have to load the model first."""
        return self._pool.is_loaded(reference)

    def measure(self, reference: str) -> Yields[ProgressReport, None, SpeedProbe]:
        """Yield what is being done until the model is measured.

        Raises:
            PrismError: the model cannot be loaded or trained.
        """
        found = self.known(reference)
        if found is not None:
            return found
        model = yield from load_with_news(self._pool, reference)
        if not isinstance(model, models.LocalModel):
            raise InputError(f"The model '{model.name}' is remote and cannot be trained here.")
        yield ProgressReport("probe", 0, 1, "measuring this machine for about ten seconds", None)
        found = prism.probe_speed(model)
        self._busy[reference] = psutil.getloadavg()[0] > 1.5 * (psutil.cpu_count() or 1)
        self._probes[reference] = found
        return found


def machine_sentence(probe: SpeedProbe, was_busy: bool = False) -> str:
    """Say what was measured."""
    busy = "The machine was busy then, so the times are too long. " if was_busy else ""
    return busy + (
        f"Measured here with {probe.model}: {probe.decode_rate:,.0f} tokens a second written by "
        f"{probe.rows} answers together, {probe.read_rate:,.0f} read, "
        f"{probe.train_rate:,.0f} trained."
    )
