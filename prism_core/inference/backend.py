"""Which way a model decodes: by its fast path, or by the library's layers.

A fast path is anything that makes a batch of a model as it is now, or says that it cannot. If one
fails, it is not tried again, and the rows go on by the library's layers.
"""

from __future__ import annotations

import logging
import os
from typing import Protocol

from transformers import PreTrainedModel

from prism_core.inference.batch import DecodingBatch
from prism_core.inference.cpu.fused_path import FusedPath
from prism_core.inference.library_batch import LibraryBatch
from prism_core.inference.prefix_cache import PrefixCache
from prism_core.inference.versions import weight_versions

_log = logging.getLogger(__name__)


class FastPath(Protocol):
    """Decodes some models faster than the library's layers do."""

    def batch(self, prefixes: PrefixCache) -> DecodingBatch | None:
        """Make an empty batch; None where the model, as it is now, cannot be decoded this way."""


def fast_path(model: PreTrainedModel) -> FastPath | None:
    """Return the fast path for a model; None where `PRISM_FAST_CPU` is 0."""
    return None if os.environ.get("PRISM_FAST_CPU") == "0" else FusedPath(model)


class Backend:
    """Makes the batches of one model."""

    def __init__(self, model: PreTrainedModel, fast: FastPath | None) -> None:
        self._model, self._fast = model, fast
        self._prefixes = PrefixCache()
        self._built_for = weight_versions(model)

    def batch(self) -> DecodingBatch:
        """Make an empty batch by the fastest way there is."""
        versions = weight_versions(self._model)
        if versions != self._built_for:
            self._prefixes.clear()
            self._built_for = versions
        made = self._try_fast() if self._fast is not None else None
        return made if made is not None else LibraryBatch(self._model, self._kept())

    def give_up(self, batch: DecodingBatch, error: Exception) -> bool:
        """Let the fast path go if it was its batch that failed; return whether it was."""
        if isinstance(batch, LibraryBatch):
            return False
        self._let_go(error)
        return True

    def _try_fast(self) -> DecodingBatch | None:
        try:
            return self._fast.batch(self._prefixes) if self._fast is not None else None
        except Exception as error:
            # Packed weights and private operators may fail in any way on another machine.
            self._let_go(error)
            return None

    def _let_go(self, error: Exception) -> None:
        self._fast = None
        self._prefixes.clear()
        _log.warning("The fast CPU path failed (%s); the library's layers take over.", error)

    def _kept(self) -> PrefixCache | None:
        """Return the prefix cache; None while hooks change what the layers compute."""
        has_hooks = any(m._forward_hooks or m._forward_pre_hooks for m in self._model.modules())
        return None if has_hooks else self._prefixes
