"""Stopping on request, in the middle of a forward pass.

A long prompt or a large batch takes many seconds a pass on a CPU, so the wish to stop is read after
every decoder layer and obeyed within one layer's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from transformers import PreTrainedModel

from prism_core.errors import CancelledError
from prism_core.progress import Cancel
from prism_core.utils.layer_hooks import after_layers


@contextmanager
def stoppable(model: PreTrainedModel, cancel: Cancel) -> Iterator[None]:
    """Let forward passes inside the block end at the next layer once `cancel` is set.

    The caller holds the model's lock: the hooks see every pass through the model.

    Raises:
        CancelledError: `cancel` was set.
    """

    def ask(_output: object) -> None:
        if cancel is not None and cancel.is_set():
            raise CancelledError("stopped on request")

    with after_layers(model, ask) if cancel is not None else nullcontext():
        yield
