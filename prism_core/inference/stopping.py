"""When decoding ends: by a stop id, at the longest answer, or on request.

A long prompt or a large batch takes many seconds a pass on a CPU, so the wish to stop is read after
every decoder layer and obeyed within one layer's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from prism_core.errors import CancelledError
from prism_core.progress import Cancel
from prism_core.types import Sampling


@dataclass(frozen=True)
class DecodingJob:
    """What all steps of decoding one batch have in common."""

    sampling: Sampling
    keys: torch.Tensor
    """The rows' random keys, (B,), from `row_keys`."""
    stop_ids: frozenset[int]
    cancel: Cancel
    lock: AbstractContextManager[object]
    """Held during the arithmetic, and released between steps so that other streams take turns."""

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has asked to stop."""
        return self.cancel is not None and self.cancel.is_set()

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """Hold the model, and keep no gradients."""
        with self.lock, torch.inference_mode():
            yield


@contextmanager
def stoppable(model: PreTrainedModel, cancel: Cancel) -> Iterator[None]:
    """Let forward passes inside the block end at the next layer once `cancel` is set.

    The caller holds the model's lock: the hooks see every pass through the model.

    Raises:
        CancelledError: `cancel` was set.
    """

    def ask(*_arguments: object) -> None:
        if cancel is not None and cancel.is_set():
            raise CancelledError("stopped on request")

    layers = getattr(model.get_decoder(), "layers", None) if cancel is not None else None
    handles = [layer.register_forward_hook(ask) for layer in layers or ()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
