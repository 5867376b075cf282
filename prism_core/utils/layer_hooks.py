"""Calling something behind every decoder layer of a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


@contextmanager
def after_layers(model: PreTrainedModel, call: Callable[[object], None]) -> Iterator[None]:
    """Call `call` with each layer's output in the passes inside the block."""

    def hook(_module: object, _args: object, output: object) -> None:
        call(output)

    layers = getattr(model.get_decoder(), "layers", None) or ()
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
