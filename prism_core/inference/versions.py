"""Telling whether a model still has the weights it had."""

from __future__ import annotations

from transformers import PreTrainedModel

Versions = tuple[tuple[int, int], ...]
"""Where each parameter lies, and how often it was written to."""


def weight_versions(model: PreTrainedModel) -> Versions:
    """Identify the weights: it changes whenever a parameter is replaced or written to."""
    return tuple((p.data_ptr(), p._version) for p in model.parameters())
