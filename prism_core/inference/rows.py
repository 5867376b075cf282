"""A row: one prompt on its way to an answer, as the engine sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from prism_core.inference.sampling import row_key
from prism_core.lora.weights import LoraWeights
from prism_core.types import Finish, Sampling

Ids = Sequence[int]
"""Token ids of one row."""
Rows = Sequence[Ids]
"""Token ids, row by row."""


@dataclass(eq=False)
class Row:
    """One prompt, how it is answered, and the answer so far. Rows are compared by identity."""

    prompt: list[int]
    sampling: Sampling
    seed: int
    stop_ids: frozenset[int]
    adapter: LoraWeights | None = None
    answer: list[int] = field(default_factory=list)
    """The tokens drawn so far, the stop id included."""
    finish: Finish = "running"

    def __post_init__(self) -> None:
        self.key = row_key(self.seed)

    @property
    def ids(self) -> list[int]:
        """Prompt and answer so far."""
        return self.prompt + self.answer

    @property
    def need(self) -> int:
        """The most tokens that prompt and answer may have."""
        return len(self.prompt) + self.sampling.max_new_tokens

    @property
    def is_running(self) -> bool:
        """Whether tokens are still to be drawn."""
        return self.finish == "running"

    def take(self, tokens: Ids) -> list[int]:
        """Append drawn tokens until the answer ends; return those that count."""
        taken: list[int] = []
        for token in tokens:
            if not self.is_running:
                break
            self.answer.append(token)
            taken.append(token)
            if token in self.stop_ids:
                self.finish = "stop"
            elif len(self.answer) >= self.sampling.max_new_tokens:
                self.finish = "length"
        return taken
