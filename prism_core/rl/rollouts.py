"""Rollouts by our own decoding loop instead of the library's `generate`.

trl lets a function write the answers that it scores (`rollout_func`). Ours decodes on the very
model that is being trained, LoRA included, reads the worked examples that all prompts share once,
and gives each row its own random numbers: row r of step s depends on (seed, s, r) alone, so that a
run that goes on after a stop draws what it would have drawn.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prism_core.errors import CancelledError
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.storage.journal import seed_of
from prism_core.types import Message, Prompt, Sampling


def as_messages(prompt: Prompt) -> list[dict[str, str]]:
    """Turn a prompt into the plain dicts that trl keeps in its data set."""
    return [{"role": m.role, "content": m.content} for m in prompt]


def as_prompt(messages: Sequence[dict[str, Any]]) -> Prompt:
    """Turn such dicts into a prompt."""
    return tuple(Message(m["role"], m["content"]) for m in messages)


@dataclass(frozen=True)
class Rollouts:
    """Writes the answers of one generation batch; trl calls it."""

    model: LocalModel
    sampling: Sampling
    seed: int
    cancel: threading.Event

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """Return the token ids of prompts and answers, row by row, stop tokens included.

        Raises:
            CancelledError: stopped on request.
        """
        rows = [encode_prompt(self.model.tokenizer, as_prompt(p)) for p in prompts]
        first = trainer.accelerator.process_index * len(rows)
        step = int(trainer.state.global_step)
        seeds = [seed_of("rollout", self.seed, step, first + i) for i in range(len(rows))]
        answers = list(self.model.write(rows, self.sampling, seeds, cancel=self.cancel))[-1]
        if self.cancel.is_set():
            raise CancelledError("stopped on request")
        ids = [row.answer for row in answers]
        return {"prompt_ids": rows, "completion_ids": ids, "logprobs": None}
