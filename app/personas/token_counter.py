"""How many tokens a text has, by the default model's own tokenizer.

A copy of the tokenizer is used: counting must not disturb, nor wait for, the model at work. Before
the model has been loaded, and for a model without a tokenizer here, there is no count.
"""

from __future__ import annotations

import copy
import threading
from typing import Any

from app.services.model_pool import ModelPool
from prism_core.models.chat import encode_text


class TokenCounter:
    """Counts tokens once the model is there."""

    def __init__(self, pool: ModelPool, reference: str) -> None:
        self._pool = pool
        self._reference = reference
        self._tokenizer: Any = None
        self._lock = threading.Lock()

    def count(self, text: str) -> int | None:
        """Count the tokens of a plain text; None where they cannot be counted yet."""
        with self._lock:
            if self._tokenizer is None:
                if not self._pool.is_loaded(self._reference):
                    return None
                model = self._pool.get(self._reference)
                self._tokenizer = copy.deepcopy(getattr(model, "tokenizer", None))
            if self._tokenizer is None:
                return None
            return len(encode_text(self._tokenizer, text)) if text.strip() else 0
